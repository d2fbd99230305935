package dataplane

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/net/stun"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
)

// Relay is a DERP server over plain HTTP, with STUN beside it. It is for tests: it relays for everybody.
type Relay struct {
	derp *derp.Server
	http *http.Server
	tcp  net.Listener
	udp  *net.UDPConn
}

// NewRelay listens on loopback.
func NewRelay(logf logger.Logf) (*Relay, error) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for DERP: %w", err)
	}
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for STUN: %w", err), tcp.Close())
	}
	r := &Relay{derp: derp.NewServer(key.NewNode(), logf), tcp: tcp, udp: udp}
	mux := http.NewServeMux()
	mux.Handle("/derp", derphttp.Handler(r.derp))
	r.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = r.http.Serve(tcp) }() // ends with Close
	go r.serveSTUN()
	return r, nil
}

// Close ends it, and the connections of all who use it.
func (r *Relay) Close() error {
	return errors.Join(r.derp.Close(), r.http.Close(), r.udp.Close())
}

// Map is the DERP map with this relay alone, as tailnet.set_derp_map takes it.
func (r *Relay) Map() string {
	tcp, udp := r.tcp.Addr().(*net.TCPAddr), r.udp.LocalAddr().(*net.UDPAddr)
	text, err := json.Marshal(map[string]any{"Regions": map[string]any{"1": map[string]any{
		"RegionID": 1, "RegionCode": "own", "RegionName": "Our relay",
		"Nodes": []any{map[string]any{
			"Name": "1a", "RegionID": 1, "HostName": "127.0.0.1", "IPv4": "127.0.0.1", "IPv6": "none",
			"DERPPort": tcp.Port, "STUNPort": udp.Port, "ForceHTTP": true,
		}},
	}}})
	if err != nil {
		panic(err) // plain values
	}
	return string(text)
}

// Bytes is how many bytes were relayed so far.
func (r *Relay) Bytes() int64 {
	var sent struct {
		Bytes int64 `json:"bytes_sent"`
	}
	if err := json.Unmarshal([]byte(r.derp.ExpVar().String()), &sent); err != nil {
		panic(err) // JSON by its contract
	}
	return sent.Bytes
}

func (r *Relay) serveSTUN() {
	var packet [1500]byte
	for {
		n, from, err := r.udp.ReadFromUDPAddrPort(packet[:])
		if err != nil {
			return
		}
		if request, err := stun.ParseBindingRequest(packet[:n]); err == nil {
			from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
			_, _ = r.udp.WriteToUDPAddrPort(stun.Response(request, from), from) // UDP may lose it
		}
	}
}
