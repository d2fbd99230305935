package dataplane

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"tailscale.com/types/logger"
)

// patience is how long a test waits for what must come. It is long, because machines are slow at times.
const patience = time.Minute

const mebibyte = 1 << 20

// world is one network with an agent and a shared key, and a relay.
type world struct {
	*testing.T
	ctx     context.Context
	proxies []string
	relay   *Relay
	agent   uuid.UUID
	token   string
	key     string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	url, proxies := os.Getenv("DATABASE_URL"), strings.Fields(os.Getenv("PROXY_URLS"))
	if url == "" || len(proxies) < 2 {
		t.Fatal("DATABASE_URL and PROXY_URLS say where the database and two proxies are: make test-interop sets them")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	relay, err := NewRelay(logger.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = relay.Close() })
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(ctx)

	w := &world{T: t, ctx: ctx, proxies: proxies, relay: relay}
	network := "dataplane_" + uuid.NewString()[:8]
	row := func(sql string, args []any, into ...any) {
		if err := db.QueryRow(ctx, sql, args...).Scan(into...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	var created uuid.UUID
	row("SELECT tailnet.create_network($1)", []any{network}, &created)
	if _, err := db.Exec(ctx, "SELECT tailnet.set_derp_map($1, $2)", network, relay.Map()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(ctx, "SELECT tailnet.set_clients_reach_all_agents($1, true)", network); err != nil {
		t.Fatal(err)
	}
	row("SELECT peer_id, token FROM tailnet.create_peer($1, 'agent')", []any{network}, &w.agent, &w.token)
	row("SELECT token FROM tailnet.create_key($1, 'client', 'laptops', 'shared')", []any{network}, &w.key)
	return w
}

func (w *world) device(address netip.Addr) *Device {
	w.Helper()
	logf := logger.Discard
	if testing.Verbose() && os.Getenv("ENGINE_LOG") != "" {
		logf = logger.WithPrefix(w.Logf, address.String()+" ")
	}
	device, err := NewDevice(address, logf)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = device.Close() })
	return device
}

func (w *world) connect(device *Device, proxy int, path, token string) *Link {
	w.Helper()
	link, err := Connect(w.ctx, device, w.proxies[proxy], path, token)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(link.Close)
	return link
}

// serving is an agent that echoes, on a proxy.
func (w *world) serving(proxy int) (*Device, *Link) {
	w.Helper()
	device := w.device(AgentAddress(w.agent))
	device.Listen(EchoPort, ServeEcho)
	return device, w.connectAgent(device, proxy)
}

func (w *world) connectAgent(device *Device, proxy int) *Link {
	w.Helper()
	return w.connect(device, proxy, "/api/v2/workspaceagents/me/rpc?version=2.6", w.token)
}

// dialling is a client with a tunnel to the agent, on a proxy.
func (w *world) dialling(proxy int, query string) (*Device, *Link) {
	w.Helper()
	device := w.device(ClientAddress())
	return device, w.connectClient(device, proxy, query)
}

func (w *world) connectClient(device *Device, proxy int, query string) *Link {
	w.Helper()
	link := w.connect(device, proxy, fmt.Sprintf("/api/v2/workspaceagents/%s/coordinate?version=2.0%s", w.agent, query), w.key)
	if err := link.Open(w.agent); err != nil {
		w.Fatal(err)
	}
	return link
}

func (w *world) echo(device *Device, total int64) {
	w.Helper()
	if err := Echo(w.ctx, device, AgentAddress(w.agent), total, nil); err != nil {
		w.Fatal(err)
	}
}

func (w *world) awaitDirect(device *Device) {
	w.Helper()
	for {
		path, err := device.Path(w.ctx, AgentAddress(w.agent))
		if err == nil && path.Endpoint != "" {
			return
		}
		if w.ctx.Err() != nil {
			w.Fatalf("no direct path: %+v, %v", path, err)
		}
	}
}

func TestB110_TwoEnginesExchangeBytesThroughTheRelayAndThenDirectly(t *testing.T) {
	w := newWorld(t)
	agent := w.device(AgentAddress(w.agent))
	agent.BlockDirect(true)
	agent.Listen(EchoPort, ServeEcho)
	w.connectAgent(agent, 0)
	client := w.device(ClientAddress())
	client.BlockDirect(true)
	w.connectClient(client, 1, "")

	w.echo(client, mebibyte)
	relayed := w.relay.Bytes()
	if relayed < 2*mebibyte {
		t.Fatalf("the relay carried %d bytes; a mebibyte each way is more", relayed)
	}

	agent.BlockDirect(false)
	client.BlockDirect(false)
	w.awaitDirect(client)
	before := w.relay.Bytes()
	w.echo(client, mebibyte)
	if more := w.relay.Bytes() - before; more > mebibyte/2 {
		t.Fatalf("the relay carried %d bytes, although there is a direct path", more)
	}
}

func TestB110_AnAgentMovesToAnotherProxyWhileBytesFlow(t *testing.T) {
	w := newWorld(t)
	agent, old := w.serving(0)
	client, _ := w.dialling(1, "")
	moved := make(chan *Link, 1)
	var first bool
	err := Echo(w.ctx, client, AgentAddress(w.agent), 8*mebibyte, func(received int64) {
		if received > mebibyte && !first {
			first = true
			go func() {
				link, err := Connect(w.ctx, agent, w.proxies[1], "/api/v2/workspaceagents/me/rpc?version=2.6", w.token)
				if err != nil {
					t.Error(err)
				}
				moved <- link
			}()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	link := <-moved
	if link == nil {
		t.FailNow()
	}
	t.Cleanup(link.Close)
	select {
	case <-old.Ended():
	case <-w.ctx.Done():
		t.Fatal("the older connection of the agent did not end")
	}
	w.echo(client, mebibyte)
	late, _ := w.dialling(0, "")
	w.echo(late, mebibyte)
}

func TestB114_AClientResumesOnAnotherProxyWhileBytesFlow(t *testing.T) {
	w := newWorld(t)
	w.serving(0)
	client, link := w.dialling(0, "")
	w.echo(client, mebibyte)
	token, err := link.ResumeToken(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	link.Close()
	w.connectClient(client, 1, "&resume_token="+token)
	w.echo(client, mebibyte)
}
