// Package dataplane is a peer of tailnet v2 that runs the engine of real agents and clients: WireGuard, path discovery
// and relays as tailscale.com has them. The tests in it move bytes between such peers.
package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"gvisor.dev/gvisor/pkg/tcpip"
	"tailscale.com/ipn/ipnstate"
	"tailscale.com/net/dns"
	"tailscale.com/net/netmon"
	"tailscale.com/net/tsdial"
	"tailscale.com/tailcfg"
	"tailscale.com/tsd"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
	"tailscale.com/types/netmap"
	"tailscale.com/wgengine"
	"tailscale.com/wgengine/filter"
	"tailscale.com/wgengine/magicsock"
	"tailscale.com/wgengine/netstack"
	"tailscale.com/wgengine/router"
	"tailscale.com/wgengine/wgcfg/nmcfg"

	"example.org/pg_tailnet/interop/tailnetpb"
)

// Device is one machine on the tailnet: an engine, and TCP in user space on top of it.
type Device struct {
	logf    logger.Logf
	key     key.NodePrivate
	address netip.Prefix
	engine  wgengine.Engine
	magic   *magicsock.Conn
	stack   *netstack.Impl
	monitor *netmon.Monitor

	mu        sync.Mutex
	partners  map[uuid.UUID]*tailcfg.Node
	listeners map[uint16]func(net.Conn)
	self      *tailnetpb.Node
	// announce is called with each new node, under the lock, so that they stay in order.
	announce func(*tailnetpb.Node)
}

// NewDevice starts a device with the address.
func NewDevice(address netip.Addr, logf logger.Logf) (*Device, error) {
	monitor, err := netmon.New(logf)
	if err != nil {
		return nil, fmt.Errorf("watch the network: %w", err)
	}
	system := new(tsd.System)
	dialer := &tsdial.Dialer{Logf: logf}
	engine, err := wgengine.NewUserspaceEngine(logf, wgengine.Config{
		NetMon: monitor, Dialer: dialer, SetSubsystem: system.Set,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the engine: %w", err), monitor.Close())
	}
	magic := system.MagicSock.Get()
	stack, err := netstack.Create(logf, system.Tun.Get(), engine, magic, dialer, system.DNSManager.Get())
	if err != nil {
		engine.Close()
		return nil, errors.Join(fmt.Errorf("start TCP: %w", err), monitor.Close())
	}
	d := &Device{
		logf: logf, key: key.NewNode(), address: netip.PrefixFrom(address, address.BitLen()),
		engine: engine, magic: magic, stack: stack, monitor: monitor,
		partners: map[uuid.UUID]*tailcfg.Node{}, listeners: map[uint16]func(net.Conn){},
	}
	public := d.key.Public()
	text, err := public.MarshalBinary()
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	d.self = &tailnetpb.Node{
		Id: int64(public.Raw32()[0])<<8 | int64(public.Raw32()[1]), Key: text, Disco: engine.DiscoPublicKey().String(),
		Addresses: []string{d.address.String()}, AllowedIps: []string{d.address.String()},
	}

	stack.ProcessLocalIPs = true
	stack.GetTCPHandlerForFlow = d.handler
	engine.SetFilter(filter.NewAllowAllForTest(logf))
	engine.SetStatusCallback(d.onStatus)
	engine.SetNetInfoCallback(d.onNetInfo)
	if err := stack.Start(nil); err != nil {
		return nil, errors.Join(fmt.Errorf("start TCP: %w", err), d.Close())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.configureLocked(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Close stops everything.
func (d *Device) Close() error {
	err := d.stack.Close()
	d.engine.Close()
	return errors.Join(err, d.monitor.Close())
}

// Address is where others reach it.
func (d *Device) Address() netip.Addr {
	return d.address.Addr()
}

// OnNode calls announce with each new node from now on, and at once with the last when there is one to announce: a device
// that has no relay has none.
func (d *Device) OnNode(announce func(*tailnetpb.Node)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.announce = announce
	d.announceLocked()
}

func (d *Device) announceLocked() {
	if d.announce == nil || d.self.PreferredDerp == 0 {
		return
	}
	node := proto.Clone(d.self).(*tailnetpb.Node)
	node.AsOf = timestamppb.Now()
	d.announce(node)
}

func (d *Device) onStatus(status *wgengine.Status, err error) {
	if err != nil {
		d.logf("dataplane: no status: %v", err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.self.Endpoints = nil
	for _, endpoint := range status.LocalAddrs {
		d.self.Endpoints = append(d.self.Endpoints, endpoint.Addr.String())
	}
	d.announceLocked()
}

func (d *Device) onNetInfo(info *tailcfg.NetInfo) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.self.PreferredDerp = int32(info.PreferredDERP)
	d.self.DerpLatency = info.DERPLatency
	d.announceLocked()
}

// SetRelays takes what the coordinator says about relays.
func (d *Device) SetRelays(relays *tailnetpb.DERPMap) {
	d.engine.SetDERPMap(toDERPMap(relays))
}

// BlockDirect decides whether packets go through relays only.
func (d *Device) BlockDirect(block bool) {
	d.magic.SetBlockEndpoints(block)
}

// Take does what the coordinator says about partners.
func (d *Device) Take(updates []*tailnetpb.CoordinateResponse_PeerUpdate) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, update := range updates {
		id, err := uuid.FromBytes(update.Id)
		if err != nil {
			return fmt.Errorf("the id of an update: %w", err)
		}
		switch update.Kind {
		case tailnetpb.CoordinateResponse_PeerUpdate_NODE:
			node, err := toPartner(update.Node)
			if err != nil {
				return fmt.Errorf("the node of %s: %w", id, err)
			}
			d.partners[id] = node
		case tailnetpb.CoordinateResponse_PeerUpdate_DISCONNECTED:
			delete(d.partners, id)
		default:
			// A lost partner may still be there: its tunnel stays.
		}
	}
	return d.configureLocked()
}

// configureLocked makes the engine know all partners.
func (d *Device) configureLocked() error {
	prefixes := []netip.Prefix{d.address}
	network := &netmap.NetworkMap{
		SelfNode: &tailcfg.Node{
			ID: tailcfg.NodeID(d.self.Id), Key: d.key.Public(), Addresses: prefixes, AllowedIPs: prefixes,
		},
		NodeKey: d.key.Public(), PrivateKey: d.key, Addresses: prefixes,
	}
	for _, node := range d.partners {
		network.Peers = append(network.Peers, node)
	}
	d.engine.SetNetworkMap(network)
	config, err := nmcfg.WGCfg(network, d.logf, netmap.AllowSingleHosts, "")
	if err != nil {
		return fmt.Errorf("configure WireGuard: %w", err)
	}
	err = d.engine.Reconfig(config, &router.Config{LocalAddrs: prefixes}, &dns.Config{}, &tailcfg.Debug{})
	if err != nil && !errors.Is(err, wgengine.ErrNoChanges) {
		return fmt.Errorf("configure the engine: %w", err)
	}
	return nil
}

// Listen serves TCP connections to the port.
func (d *Device) Listen(port uint16, serve func(net.Conn)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listeners[port] = serve
}

func (d *Device) handler(_, to netip.AddrPort) (func(net.Conn), []tcpip.SettableSocketOption, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	serve := d.listeners[to.Port()]
	return serve, nil, true
}

// Dial opens a TCP connection to a partner.
func (d *Device) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return d.stack.DialContextTCP(ctx, to)
}

// Path asks which way packets to a partner go.
func (d *Device) Path(ctx context.Context, to netip.Addr) (*ipnstate.PingResult, error) {
	answer := make(chan *ipnstate.PingResult, 1)
	d.engine.Ping(to, tailcfg.PingDisco, func(result *ipnstate.PingResult) {
		select {
		case answer <- result:
		default:
		}
	})
	select {
	case result := <-answer:
		if result.Err != "" {
			return nil, errors.New(result.Err)
		}
		return result, nil
	case <-time.After(5 * time.Second):
		return nil, fmt.Errorf("no answer to a ping of %s", to)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
