package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"example.org/pg_tailnet/interop/agentpb"
	"example.org/pg_tailnet/interop/tailnetpb"
)

// jsonPeer is a peer that speaks tailnet.v1.json.
type jsonPeer struct {
	*world
	socket *websocket.Conn
}

type jsonUpdate struct {
	ID   uuid.UUID      `json:"id"`
	Kind string         `json:"kind"`
	Node map[string]any `json:"node"`
}

func (w *world) jsonPeer(proxy int, token string) *jsonPeer {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	header := Token("")
	header.Set("Authorization", "Bearer "+token)
	options := &websocket.DialOptions{HTTPHeader: header, Subprotocols: []string{"tailnet.v1.json"}}
	socket, _, err := websocket.Dial(ctx, w.proxy(proxy)+"/v1/coordinate", options)
	w.must(err)
	socket.SetReadLimit(4 << 20)
	w.Cleanup(func() { _ = socket.CloseNow() })
	return &jsonPeer{w, socket}
}

func (p *jsonPeer) send(frame string) {
	p.Helper()
	p.must(p.socket.Write(context.Background(), websocket.MessageText, []byte(frame)))
}

func (p *jsonPeer) await(good func(jsonUpdate) bool) jsonUpdate {
	p.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		_, text, err := p.socket.Read(ctx)
		p.must(err)
		var frame struct {
			Updates []jsonUpdate `json:"peer_updates"`
		}
		p.must(json.Unmarshal(text, &frame))
		for _, update := range frame.Updates {
			if good(update) {
				return update
			}
		}
	}
}

func TestB110_AJSONPeerAndAV2PeerArePartners(t *testing.T) {
	w := newWorld(t)
	agent, _, agentCall := w.agent(0)
	client, token := w.peer("client")
	peer := w.jsonPeer(1, token)
	w.sql("SELECT tailnet.grant_tunnel($1, $2)", client, agent)
	peer.send(fmt.Sprintf(`{"update_self": {"node": {"id": 7, "preferred_derp": 1, "addresses": ["fd7a::7/128"],
		"key": "nodekey:%s", "colour": "red"}}, "add_tunnel": {"id": %q}}`, strings.Repeat("ab", 32), agent))

	update := peer.await(func(update jsonUpdate) bool { return update.Kind == "NODE" })
	expected := node(1, own(agent))
	if update.ID != agent || update.Node["id"] != 1.0 || update.Node["disco"] != expected.Disco ||
		update.Node["key"] != "nodekey:01"+strings.Repeat("00", 31) || update.Node["derp_latency"].(map[string]any)["1-v4"] != 0.0125 {
		t.Fatalf("the JSON peer was told %v", update)
	}
	updates, err := agentCall.Await(patience, told(client, nodeKind))
	w.must(err)
	key := []byte("np" + strings.Repeat("\xab", 32))
	want := &tailnetpb.Node{Id: 7, PreferredDerp: 1, Addresses: []string{"fd7a::7/128"}, Key: key}
	if got := updates[len(updates)-1].Node; !proto.Equal(got, want) {
		t.Fatalf("the v2 peer was told %v", got)
	}
	w.must(agentCall.Send(&tailnetpb.CoordinateRequest{
		ReadyForHandshake: []*tailnetpb.CoordinateRequest_ReadyForHandshake{{Id: client[:]}},
	}))
	peer.await(func(update jsonUpdate) bool { return update.Kind == "READY_FOR_HANDSHAKE" && update.ID == agent })
	peer.send(`{"disconnect": {}}`)
	_, err = agentCall.Await(patience, told(client, disconnected))
	w.must(err)
}

// Unknown fields of a node are told to v2 peers as they were.
func TestB110_UnknownFieldsOfANodeTravel(t *testing.T) {
	w := newWorld(t)
	agent, token := w.peer("agent")
	call := w.coordinate(w.dial(0, "/api/v2/workspaceagents/me/rpc?version=2.6", token))
	announced := node(1, own(agent))
	unknown := []byte{0x82, 1, 2, 'h', 'i'} // field 16
	announced.ProtoReflect().SetUnknown(unknown)
	w.must(call.Announce(announced))
	client := w.coordinate(w.dial(1, coordinatePath(agent), w.key()))
	w.must(client.Open(agent))
	updates, err := client.Await(patience, told(agent, nodeKind))
	w.must(err)
	if got := updates[len(updates)-1].Node; !proto.Equal(got, announced) {
		t.Fatalf("told %v", got)
	}
}

func TestB111_AnIdleConnectionLives(t *testing.T) {
	w := newWorld(t)
	agent, agentClient, _ := w.agent(0)
	client := w.dial(1, coordinatePath(agent), w.key())
	call := w.coordinate(client)
	select {
	case <-agentClient.Ended():
		t.Fatal("the agent's connection ended")
	case <-client.Ended():
		t.Fatal("the client's connection ended")
	case response, open := <-call.Responses:
		t.Fatalf("%v, open: %v", response, open)
	case <-time.After(120 * time.Second):
	}
	w.must(call.Open(agent))
	_, err := call.Await(patience, told(agent, nodeKind))
	w.must(err)
}

func TestANewerConnectionOfAPeerEndsTheOlder(t *testing.T) {
	w := newWorld(t)
	_, token := w.peer("agent")
	path := "/api/v2/workspaceagents/me/rpc?version=2.6"
	older := w.dial(0, path, token)
	call := w.coordinate(older)
	w.coordinate(w.dial(1, path, token))
	text, ended, err := call.Refused(patience)
	w.must(err)
	if !ended || !strings.Contains(text, "superseded") {
		t.Fatalf("%q, ended: %v", text, ended)
	}
	<-older.Ended()
}

func TestB95_RevocationEndsTheConnection(t *testing.T) {
	w := newWorld(t)
	agent, client, call := w.agent(0)
	// One that has not begun to coordinate ends, too.
	quiet := w.dial(1, coordinatePath(agent), w.key())
	w.sql("SELECT tailnet.revoke_peer($1)", agent)
	text, ended, err := call.Refused(patience)
	w.must(err)
	if !ended || !strings.Contains(text, "revoked") {
		t.Fatalf("%q, ended: %v", text, ended)
	}
	<-client.Ended()
	w.sql("SELECT tailnet.revoke_key(key_id) FROM tailnet.keys WHERE network = $1", w.network)
	<-quiet.Ended()
}

func TestB119_AReportIsAnsweredWhenItIsDurable(t *testing.T) {
	w := newWorld(t)
	agent, client, _ := w.agent(0)
	id := uuid.New()
	report := &agentpb.Connection{
		Id: id[:], Action: agentpb.Connection_CONNECT, Type: agentpb.Connection_SSH, Ip: "192.0.2.7",
		Timestamp: timestamp(time.Now().Add(-time.Minute)),
	}
	path := "/coder.agent.v2.Agent/ReportConnection"
	call := func() error {
		return client.Call(context.Background(), path, &agentpb.ReportConnectionRequest{Connection: report}, &tailnetpb.TelemetryResponse{})
	}
	w.must(call())
	count := "SELECT count(*) FROM tailnet.connection_logs WHERE agent_id = $1 AND connection_id = $2 AND type = 'ssh' AND "
	if value[int](w, count+"disconnect_time IS NULL", agent, id) != 1 {
		t.Fatal("the report was answered and is not there")
	}
	report.Action, report.StatusCode, report.Reason = agentpb.Connection_DISCONNECT, 1, proto.String("broken")
	w.must(call())
	if value[int](w, count+"code = 1 AND disconnect_reason = 'broken'", agent, id) != 1 {
		t.Fatal("the report was answered and is not there")
	}
	report.Type = agentpb.Connection_TYPE_UNSPECIFIED
	if err := call(); err == nil || !strings.Contains(err.Error(), "without a type") {
		t.Fatal(err)
	}
}

// What an agent calls before it runs.
func TestB119_AnAgentGetsWhatItNeeds(t *testing.T) {
	w := newWorld(t)
	agent, client, _ := w.agent(0)
	prefix := "/coder.agent.v2.Agent/"
	call := func(method string, in, out proto.Message) {
		t.Helper()
		if err := client.Call(context.Background(), prefix+method, in, out); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
	}
	manifest := &agentpb.Manifest{}
	call("GetManifest", &agentpb.GetManifestRequest{}, manifest)
	if uuid.UUID(manifest.AgentId) != agent || len(manifest.WorkspaceId) != 16 || manifest.DerpMap.Regions[1] == nil || manifest.AgentName == "" {
		t.Fatal(manifest)
	}
	startup := &agentpb.Startup{Version: "v2.30", ExpandedDirectory: "/home/ann", Subsystems: []int32{1}}
	echoed := &agentpb.Startup{}
	call("UpdateStartup", &agentpb.UpdateStartupRequest{Startup: startup}, echoed)
	if !proto.Equal(startup, echoed) {
		t.Fatal(echoed)
	}
	lifecycle := &agentpb.Lifecycle{State: agentpb.Lifecycle_READY, ChangedAt: timestamp(time.Now())}
	state := &agentpb.Lifecycle{}
	call("UpdateLifecycle", &agentpb.UpdateLifecycleRequest{Lifecycle: lifecycle}, state)
	if !proto.Equal(lifecycle, state) {
		t.Fatal(state)
	}
	seen := `SELECT count(*) FROM tailnet.agents WHERE agent_id = $1 AND version = 'v2.30' AND directory = '/home/ann' AND lifecycle = 'ready'`
	for deadline := time.Now().Add(patience); value[int](w, seen, agent) != 1; {
		if time.Now().After(deadline) {
			t.Fatal("SQL does not show what the agent told of itself")
		}
	}
	stats := &agentpb.UpdateStatsResponse{}
	call("UpdateStats", &agentpb.UpdateStatsRequest{}, stats)
	if stats.ReportInterval.AsDuration() <= 0 {
		t.Fatal(stats)
	}
	monitoring := &agentpb.GetResourcesMonitoringConfigurationResponse{}
	call("GetResourcesMonitoringConfiguration", &agentpb.GetResourcesMonitoringConfigurationRequest{}, monitoring)
	if monitoring.Config.GetNumDatapoints() == 0 || monitoring.Config.GetCollectionIntervalSeconds() == 0 {
		t.Fatal(monitoring)
	}
	logs := &agentpb.BatchCreateLogsResponse{}
	call("BatchCreateLogs", &agentpb.BatchCreateLogsRequest{}, logs)
	if !logs.LogLimitExceeded {
		t.Fatal(logs)
	}
	for _, method := range []string{"GetAnnouncementBanners", "BatchUpdateMetadata", "BatchUpdateAppHealths", "ScriptCompleted", "PushResourcesMonitoringUsage"} {
		call(method, &agentpb.GetManifestRequest{}, &tailnetpb.TelemetryResponse{})
	}
	// What operators set is told when the agent next connects.
	w.sql("SELECT tailnet.set_agent_info($1, 'ann', 'dev', NULL, '/src', '{\"EDITOR\": \"vi\"}')", agent)
	client.Drop()
	token := value[string](w, "SELECT tailnet.rotate_token($1)", agent)
	client = w.dial(1, "/api/v2/workspaceagents/me/rpc?version=2.6", token)
	call("GetManifest", &agentpb.GetManifestRequest{}, manifest)
	if manifest.OwnerUsername != "ann" || manifest.WorkspaceName != "dev" || manifest.Directory != "/src" || manifest.EnvironmentVariables["EDITOR"] != "vi" {
		t.Fatal(manifest)
	}
	// A client cannot call them.
	other := w.dial(1, coordinatePath(agent), w.key())
	if err := other.Call(context.Background(), prefix+"GetManifest", &agentpb.GetManifestRequest{}, manifest); err == nil {
		t.Fatal("a client got a manifest")
	}
}

func TestB117_AReaderThatStopsEndsOnTheNewestState(t *testing.T) {
	w := newWorld(t)
	agent, _, agentCall := w.agent(0)
	client := w.dial(1, coordinatePath(agent), w.key())
	stream, err := client.Stream(context.Background(), Coordinate)
	w.must(err)
	w.must(stream.MsgSend(&tailnetpb.CoordinateRequest{AddTunnel: &tailnetpb.CoordinateRequest_Tunnel{Id: agent[:]}}, Encoding{}))
	first := &tailnetpb.CoordinateResponse{}
	w.must(stream.MsgRecv(first, Encoding{}))
	const last = 2000
	for id := int64(1); id <= last; id++ {
		announced := node(id, own(agent))
		announced.Disco = strings.Repeat("x", 8000) // 16 MB in all, and a window has 256 KiB
		w.must(agentCall.Announce(announced))
		if id%100 == 0 {
			// The other calls of the client go on.
			w.must(client.Call(context.Background(), PostTelemetry, &tailnetpb.TelemetryRequest{}, &tailnetpb.TelemetryResponse{}))
		}
	}
	read, newest := 0, int64(0)
	for newest != last {
		response := &tailnetpb.CoordinateResponse{}
		w.must(stream.MsgRecv(response, Encoding{}))
		for _, update := range response.PeerUpdates {
			if id := update.Node.GetId(); id < newest {
				t.Fatalf("%d after %d", id, newest)
			} else {
				newest = id
			}
			read++
		}
	}
	if read == last {
		t.Fatalf("all %d updates were told", read)
	}
}

func TestManyUpdatesAtOnce(t *testing.T) {
	w := newWorld(t)
	const agents = 1500
	ids := make([]uuid.UUID, agents)
	tokens := make([]string, agents)
	rows, err := w.db.Query(context.Background(),
		"SELECT p.peer_id, p.token FROM generate_series(1, $2::integer) n CROSS JOIN LATERAL tailnet.create_peer($1, 'agent', 'agent ' || n) p", w.network, agents)
	w.must(err)
	for n := 0; rows.Next(); n++ {
		var id [16]byte
		w.must(rows.Scan(&id, &tokens[n]))
		ids[n] = id
	}
	w.must(rows.Err())
	w.parallel(agents, func(n int) error {
		client, err := w.tryDial(n, "/api/v2/workspaceagents/me/rpc?version=2.6", tokens[n])
		if err != nil {
			return err
		}
		w.Cleanup(client.Drop)
		call, err := client.Coordinate(context.Background())
		if err != nil {
			return err
		}
		return call.Announce(node(int64(n), own(ids[n])))
	})
	_, token := w.peer("hub")
	call := w.coordinate(w.dial(1, "/api/v2/tailnet?version=2.0", token))
	for _, id := range ids {
		w.must(call.Open(id))
	}
	told := map[uuid.UUID]bool{}
	_, err = call.Await(2*patience, func(update *update) bool {
		if update.Kind == nodeKind {
			told[uuid.UUID(update.Id)] = true
		}
		return len(told) == agents
	})
	w.must(err)
}

// A program that carries many tunnels asks for all of them at once when it comes back, before its session is attached.
func TestAHubOpensThousandsOfTunnelsAtOnce(t *testing.T) {
	w := newWorld(t)
	const tunnels = 4000
	agents := value[[]string](w, `SELECT array_agg(p.peer_id::text)
		FROM generate_series(1, $2::integer) i, LATERAL tailnet.create_peer($1, 'agent', 'agent ' || i) p`, w.network, tunnels)
	hub, token := w.peer("hub")
	call := w.coordinate(w.dial(0, "/api/v2/tailnet?version=2.0", token))
	for _, agent := range agents {
		w.must(call.Open(uuid.MustParse(agent)))
	}
	deadline := time.Now().Add(2 * patience)
	for value[int](w, "SELECT count(*) FROM tailnet.tunnels WHERE src_id = $1", hub) != tunnels {
		if time.Now().After(deadline) {
			t.Fatalf("%d tunnels; the call ended with %v", value[int](w, "SELECT count(*) FROM tailnet.tunnels WHERE src_id = $1", hub), call.Err)
		}
	}
}

func TestManyConnectionsWithOneKey(t *testing.T) {
	w := newWorld(t)
	agent, _, _ := w.agent(0)
	token := w.key()
	const connections = 5000
	w.parallel(connections, func(n int) error {
		client, err := w.tryDial(n, coordinatePath(agent), token)
		if err != nil {
			return err
		}
		w.Cleanup(client.Drop)
		call, err := client.Coordinate(context.Background())
		if err != nil {
			return err
		}
		return call.Announce(node(int64(n), "fd7a::1/128"))
	})
	peers := "SELECT count(*) FROM tailnet.peers WHERE network = $1 AND status = 'ok' AND role = 'client'"
	deadline := time.Now().Add(2 * patience)
	for value[int](w, peers, w.network) != connections {
		if time.Now().After(deadline) {
			t.Fatalf("%d peers", value[int](w, peers, w.network))
		}
	}
}

// parallel does it for each number, many at once.
func (w *world) parallel(count int, do func(n int) error) {
	w.Helper()
	numbers, failed := make(chan int), make(chan error, count)
	var group sync.WaitGroup
	for range 64 {
		group.Add(1)
		go func() {
			defer group.Done()
			for n := range numbers {
				if err := do(n); err != nil {
					failed <- err
				}
			}
		}()
	}
	for n := range count {
		numbers <- n
	}
	close(numbers)
	group.Wait()
	close(failed)
	if err, any := <-failed; any {
		w.Fatalf("%d of %d failed, such as: %v", len(failed)+1, count, err)
	}
}

func TestB115_AJSONPeerIsToldTheDERPMapIfItAsks(t *testing.T) {
	w := newWorld(t)
	_, token := w.peer("client")
	asks, silent := w.jsonPeer(0, token), w.jsonPeer(1, w.key())
	next := func(peer *jsonPeer) string {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, text, err := peer.socket.Read(ctx)
		w.must(err)
		return string(text)
	}
	expect := func(expected string) {
		t.Helper()
		var frame, want any
		w.must(json.Unmarshal([]byte(next(asks)), &frame))
		w.must(json.Unmarshal([]byte(`{"derp_map":`+expected+`}`), &want))
		if !reflect.DeepEqual(frame, want) {
			t.Fatalf("%v, expected %v", frame, want)
		}
	}
	asks.send(`{"derp_map": {}}`)
	expect(derpMap)
	changed := strings.Replace(derpMap, "derp.example.com", "other.example.com", 1)
	w.sql("SELECT tailnet.set_derp_map($1, $2)", w.network, changed)
	expect(changed)
	w.sql("SELECT tailnet.set_derp_map($1, NULL)", w.network)
	expect("null")
	// It did not ask: the first that it is told is why its session ends.
	silent.send(`{"derp_map": {"version": 1}}`)
	if frame := next(silent); !strings.Contains(frame, "unknown field `version`") {
		t.Fatal(frame)
	}
}
