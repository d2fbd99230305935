package dataplane

import (
	"crypto/rand"
	"fmt"
	"net/netip"

	"github.com/google/uuid"
	"tailscale.com/tailcfg"

	"example.org/pg_tailnet/interop/tailnetpb"
)

// prefix is where addresses of the tailnet begin.
var prefix = [6]byte{0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0}

// AgentAddress is the address of an agent: it follows from its id.
func AgentAddress(id uuid.UUID) netip.Addr {
	address := [16]byte(id)
	copy(address[:], prefix[:])
	return netip.AddrFrom16(address)
}

// ClientAddress makes an address up, as clients do.
func ClientAddress() netip.Addr {
	var address [16]byte
	_, _ = rand.Read(address[:]) // never fails
	copy(address[:], prefix[:])
	return netip.AddrFrom16(address)
}

// toPartner makes the engine's node of an announced one.
func toPartner(node *tailnetpb.Node) (*tailcfg.Node, error) {
	partner := &tailcfg.Node{
		ID: tailcfg.NodeID(node.Id), Endpoints: node.Endpoints, KeepAlive: true,
		Hostinfo: (&tailcfg.Hostinfo{}).View(),
	}
	if node.PreferredDerp != 0 {
		partner.DERP = fmt.Sprintf("%s:%d", tailcfg.DerpMagicIP, node.PreferredDerp)
	}
	if err := partner.Key.UnmarshalBinary(node.Key); err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if node.Disco == "" {
		// It discovers no path, such as a peer with plain WireGuard.
		partner.IsWireGuardOnly = true
	} else if err := partner.DiscoKey.UnmarshalText([]byte(node.Disco)); err != nil {
		return nil, fmt.Errorf("disco: %w", err)
	}
	var err error
	if partner.Addresses, err = prefixes(node.Addresses); err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	if partner.AllowedIPs, err = prefixes(node.AllowedIps); err != nil {
		return nil, fmt.Errorf("allowed_ips: %w", err)
	}
	return partner, nil
}

func prefixes(texts []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, nil
}

func toDERPMap(relays *tailnetpb.DERPMap) *tailcfg.DERPMap {
	derpMap := &tailcfg.DERPMap{Regions: map[int]*tailcfg.DERPRegion{}}
	for id, region := range relays.Regions {
		to := &tailcfg.DERPRegion{
			RegionID: int(id), RegionCode: region.RegionCode, RegionName: region.RegionName, Avoid: region.Avoid,
		}
		for _, node := range region.Nodes {
			to.Nodes = append(to.Nodes, &tailcfg.DERPNode{
				Name: node.Name, RegionID: int(node.RegionId), HostName: node.HostName, CertName: node.CertName,
				IPv4: node.Ipv4, IPv6: node.Ipv6, STUNPort: int(node.StunPort), STUNOnly: node.StunOnly,
				DERPPort: int(node.DerpPort), InsecureForTests: node.InsecureForTests, ForceHTTP: node.ForceHttp,
				STUNTestIP: node.StunTestIp, CanPort80: node.CanPort_80,
			})
		}
		derpMap.Regions[int(id)] = to
	}
	return derpMap
}
