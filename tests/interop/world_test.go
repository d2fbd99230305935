package interop

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.org/pg_tailnet/interop/tailnetpb"
)

// patience is how long a test waits for what must come. It is long, because machines are slow at times.
const patience = 30 * time.Second

// derpMap is a map that every client can read.
const derpMap = `{"Regions":{"1":{"RegionID":1,"RegionCode":"one","Nodes":[{"Name":"1a","RegionID":1,"HostName":"derp.example.com"}]}}}`

// world is one network of its own, on the running database and proxies.
type world struct {
	*testing.T
	db      *pgx.Conn
	network string
	proxies []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	return newWorldAlone(t)
}

// newWorldAlone is for a test that runs before those that run side by side.
func newWorldAlone(t *testing.T) *world {
	t.Helper()
	url, proxies := os.Getenv("DATABASE_URL"), strings.Fields(os.Getenv("PROXY_URLS"))
	if url == "" || len(proxies) == 0 {
		t.Fatal("DATABASE_URL and PROXY_URLS say where the database and the proxies are: make test-interop sets them")
	}
	db, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	w := &world{t, db, strings.ToLower(strings.ReplaceAll(t.Name(), "/", "_")) + "_" + uuid.NewString()[:8], proxies}
	w.sql("SELECT tailnet.create_network($1)", w.network)
	w.sql("SELECT tailnet.set_derp_map($1, $2)", w.network, derpMap)
	return w
}

// proxy is one of the proxies: with two, neighbours are different.
func (w *world) proxy(n int) string {
	return w.proxies[n%len(w.proxies)]
}

func (w *world) sql(sql string, args ...any) {
	w.Helper()
	if _, err := w.db.Exec(context.Background(), sql, args...); err != nil {
		w.Fatalf("%s: %v", sql, err)
	}
}

func value[T any](w *world, sql string, args ...any) T {
	w.Helper()
	var value T
	if err := w.db.QueryRow(context.Background(), sql, args...).Scan(&value); err != nil {
		w.Fatalf("%s: %v", sql, err)
	}
	return value
}

// peer makes a durable peer.
func (w *world) peer(role string) (uuid.UUID, string) {
	w.Helper()
	var id [16]byte
	var token string
	row := w.db.QueryRow(context.Background(), "SELECT peer_id, token FROM tailnet.create_peer($1, $2)", w.network, role)
	if err := row.Scan(&id, &token); err != nil {
		w.Fatal(err)
	}
	return id, token
}

// key makes a shared key of clients that reach all agents.
func (w *world) key() string {
	w.Helper()
	w.sql("SELECT tailnet.set_clients_reach_all_agents($1, true)", w.network)
	return value[string](w, "SELECT token FROM tailnet.create_key($1, 'client', $2, 'shared')", w.network, uuid.NewString())
}

func (w *world) dial(proxy int, path, token string) *Client {
	w.Helper()
	client, err := w.tryDial(proxy, path, token)
	if err != nil {
		w.Fatalf("%s: %v", path, err)
	}
	w.Cleanup(client.Drop)
	return client
}

func (w *world) tryDial(proxy int, path, token string) (*Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return Dial(ctx, w.proxy(proxy), path, Token(token))
}

// agent connects as an agent does, and announces its node.
func (w *world) agent(proxy int) (uuid.UUID, *Client, *Coordination) {
	w.Helper()
	id, token := w.peer("agent")
	client := w.dial(proxy, "/api/v2/workspaceagents/me/rpc?version=2.6", token)
	coordination := w.coordinate(client)
	w.must(coordination.Announce(node(1, own(id))))
	return id, client, coordination
}

func (w *world) coordinate(client *Client) *Coordination {
	w.Helper()
	coordination, err := client.Coordinate(context.Background())
	w.must(err)
	return coordination
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// node is a node with one address.
func node(id int64, address string) *tailnetpb.Node {
	key := append([]byte("np"), make([]byte, 32)...)
	key[2] = byte(id)
	return &tailnetpb.Node{
		Id: id, Key: key, Disco: "discokey:" + strings.Repeat("ab", 32), PreferredDerp: 1,
		DerpLatency: map[string]float64{"1-v4": 0.0125},
		Addresses:   []string{address}, AllowedIps: []string{address},
	}
}

// own is the address of an agent.
func own(id uuid.UUID) string {
	return fmt.Sprintf("fd7a:115c:a1e0:%x:%x:%x:%x:%x/128",
		id[6:8], id[8:10], id[10:12], id[12:14], id[14:16])
}

type update = tailnetpb.CoordinateResponse_PeerUpdate

// told is a condition of Await: a kind of update about a peer.
func told(peer uuid.UUID, kind tailnetpb.CoordinateResponse_PeerUpdate_Kind) func(*update) bool {
	return func(update *update) bool {
		return update.Kind == kind && uuid.UUID(update.Id) == peer
	}
}

func coordinatePath(agent uuid.UUID) string {
	return "/api/v2/workspaceagents/" + agent.String() + "/coordinate?version=2.0"
}
