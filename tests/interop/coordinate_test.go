package interop

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"storj.io/drpc/drpcerr"

	"example.org/pg_tailnet/interop/tailnetpb"
)

const (
	nodeKind     = tailnetpb.CoordinateResponse_PeerUpdate_NODE
	lost         = tailnetpb.CoordinateResponse_PeerUpdate_LOST
	disconnected = tailnetpb.CoordinateResponse_PeerUpdate_DISCONNECTED
	ready        = tailnetpb.CoordinateResponse_PeerUpdate_READY_FOR_HANDSHAKE
)

// The whole story of a client and an agent on two proxies.
func TestB112_ClientAndAgent(t *testing.T) {
	w := newWorld(t)
	agent, _, agentCall := w.agent(0)
	token := w.key()
	client := w.dial(1, coordinatePath(agent), token)
	call := w.coordinate(client)
	w.must(call.Announce(node(2, "fd7a:115c:a1e0::2/128")))
	w.must(call.Open(agent))

	updates, err := call.Await(patience, told(agent, nodeKind))
	w.must(err)
	if got := updates[len(updates)-1].Node; !proto.Equal(got, node(1, own(agent))) {
		t.Fatalf("the client was told %v", got)
	}
	var peer uuid.UUID
	updates, err = agentCall.Await(patience, func(update *update) bool { return update.Kind == nodeKind })
	w.must(err)
	copy(peer[:], updates[0].Id)

	w.must(agentCall.Send(&tailnetpb.CoordinateRequest{
		ReadyForHandshake: []*tailnetpb.CoordinateRequest_ReadyForHandshake{{Id: peer[:]}},
	}))
	_, err = call.Await(patience, told(agent, ready))
	w.must(err)

	begin := time.Now()
	w.must(call.Send(&tailnetpb.CoordinateRequest{Disconnect: &tailnetpb.CoordinateRequest_Disconnect{}}))
	for range call.Responses {
	}
	t.Logf("the call ended after %s", time.Since(begin))
	_, err = agentCall.Await(patience, told(peer, disconnected))
	w.must(err)
	// The connection stays, and takes no other call of this kind.
	again := w.coordinate(client)
	w.must(again.Announce(node(2, "fd7a:115c:a1e0::2/128")))
	for range again.Responses {
	}
	if again.Err == nil || !strings.Contains(again.Err.Error(), "the peer has left") {
		t.Fatalf("a second call ended with %v", again.Err)
	}
}

// All that a client asks is done, also when it says at once that nothing more comes.
func TestB112_AGoodbyeInAHurry(t *testing.T) {
	w := newWorld(t)
	agent, _, _ := w.agent(0)
	client, token := w.peer("client")
	w.sql("SELECT tailnet.grant_tunnel($1, $2)", client, agent)
	stream, err := w.dial(1, coordinatePath(agent), token).Stream(context.Background(), Coordinate)
	w.must(err)
	for _, request := range []*tailnetpb.CoordinateRequest{
		{UpdateSelf: &tailnetpb.CoordinateRequest_UpdateSelf{Node: node(2, "fd7a::2/128")}},
		{AddTunnel: &tailnetpb.CoordinateRequest_Tunnel{Id: agent[:]}},
		{Disconnect: &tailnetpb.CoordinateRequest_Disconnect{}},
	} {
		w.must(stream.MsgSend(request, Encoding{}))
	}
	w.must(stream.CloseSend())
	for response := (&tailnetpb.CoordinateResponse{}); ; {
		if err := stream.MsgRecv(response, Encoding{}); err != nil {
			break
		}
		if response.Error != "" {
			t.Fatal(response)
		}
	}
	if left := value[int](w, "SELECT count(*) FROM tailnet.peers WHERE peer_id = $1", client); left != 0 {
		t.Fatal("the goodbye was not heard: the client is lost")
	}
}

func TestB112_ADropIsLostWithoutANode(t *testing.T) {
	w := newWorld(t)
	agent, agentClient, _ := w.agent(0)
	call := w.coordinate(w.dial(1, coordinatePath(agent), w.key()))
	w.must(call.Open(agent))
	_, err := call.Await(patience, told(agent, nodeKind))
	w.must(err)
	agentClient.Drop()
	updates, err := call.Await(patience, told(agent, lost))
	w.must(err)
	if got := updates[len(updates)-1]; got.Node != nil {
		t.Fatalf("LOST came with %v", got)
	}
}

func TestB113_RefusalsHaveTheKnownTexts(t *testing.T) {
	w := newWorld(t)
	agent, _, _ := w.agent(0)
	other, otherToken := w.peer("agent")
	token := w.key()

	t.Run("a tunnel to another agent", func(t *testing.T) {
		call := w.coordinate(w.dial(0, coordinatePath(agent), token))
		w.must(call.Open(other))
		text, ended, err := call.Refused(patience)
		w.must(err)
		expected := "authorization: invalid agent id, expected " + agent.String() + ", got " + other.String()
		if text != expected || !ended {
			t.Fatalf("%q, ended: %v", text, ended)
		}
	})
	t.Run("the address of another agent", func(t *testing.T) {
		client := w.dial(1, "/api/v2/workspaceagents/me/rpc?version=2.6", otherToken)
		call := w.coordinate(client)
		w.must(call.Announce(node(1, own(agent))))
		text, ended, err := call.Refused(patience)
		w.must(err)
		expected := "authorization: Addresses: invalid node address, got " + strings.TrimSuffix(own(agent), "/128")
		if text != expected || !ended {
			t.Fatalf("%q, ended: %v", text, ended)
		}
		// The connection stays.
		w.must(client.Call(context.Background(), PostTelemetry, &tailnetpb.TelemetryRequest{}, &tailnetpb.TelemetryResponse{}))
	})
	t.Run("a prefix that is no address", func(t *testing.T) {
		call := w.coordinate(w.dial(1, coordinatePath(agent), token))
		w.must(call.Announce(node(1, "fd7a:115c:a1e0::/64")))
		text, ended, err := call.Refused(patience)
		w.must(err)
		if text != "authorization: Addresses: invalid address bits, expected 128, got 64" || !ended {
			t.Fatalf("%q, ended: %v", text, ended)
		}
	})
	t.Run("an id of 15 bytes", func(t *testing.T) {
		call := w.coordinate(w.dial(1, coordinatePath(agent), token))
		w.must(call.Send(&tailnetpb.CoordinateRequest{AddTunnel: &tailnetpb.CoordinateRequest_Tunnel{Id: make([]byte, 15)}}))
		text, ended, err := call.Refused(patience)
		w.must(err)
		if text != "unable to convert bytes to UUID: invalid UUID (got 15 bytes)" || !ended {
			t.Fatalf("%q, ended: %v", text, ended)
		}
	})
	t.Run("a handshake without a tunnel, after which the call goes on", func(t *testing.T) {
		id, token := w.peer("agent")
		call := w.coordinate(w.dial(0, "/api/v2/workspaceagents/me/rpc?version=2.6", token))
		w.must(call.Announce(node(1, own(id))))
		w.must(call.Send(&tailnetpb.CoordinateRequest{
			ReadyForHandshake: []*tailnetpb.CoordinateRequest_ReadyForHandshake{{Id: other[:]}},
		}))
		response := <-call.Responses
		if response.Error != `ready for handshake error: you do not share a tunnel with "`+other.String()+`"` {
			t.Fatalf("%v", response)
		}
		client := w.coordinate(w.dial(1, coordinatePath(id), w.key()))
		w.must(client.Announce(node(9, "fd7a::9/128")))
		w.must(client.Open(id))
		_, err := call.Await(patience, func(update *update) bool { return update.Kind == nodeKind })
		w.must(err)
	})
}

func TestB114_AResumeTokenBringsThePeerBackOnAnyProxy(t *testing.T) {
	w := newWorld(t)
	agent, _, agentCall := w.agent(0)
	token := w.key()
	client := w.dial(1, coordinatePath(agent), token)
	call := w.coordinate(client)
	w.must(call.Announce(node(2, "fd7a::2/128")))
	w.must(call.Open(agent))
	updates, err := agentCall.Await(patience, func(update *update) bool { return update.Kind == nodeKind })
	w.must(err)
	peer := uuid.UUID(updates[0].Id)

	resume := &tailnetpb.RefreshResumeTokenResponse{}
	w.must(client.Call(context.Background(), RefreshResumeToken, &tailnetpb.RefreshResumeTokenRequest{}, resume))
	if resume.Token == "" || resume.RefreshIn.AsDuration() <= 0 || time.Until(resume.ExpiresAt.AsTime()) <= 0 {
		t.Fatalf("%v", resume)
	}
	client.Drop()
	_, err = agentCall.Await(patience, told(peer, lost))
	w.must(err)

	path := coordinatePath(agent) + "&resume_token="
	back := w.coordinate(w.dial(0, path+resume.Token, token))
	w.must(back.Announce(node(3, "fd7a::3/128")))
	updates, err = agentCall.Await(patience, told(peer, nodeKind))
	w.must(err)
	for _, update := range updates {
		if update.Kind == disconnected {
			t.Fatalf("the agent was told %v", updates)
		}
	}
	_, err = back.Await(patience, told(agent, nodeKind))
	w.must(err)

	foreign := w.key()
	for name, dial := range map[string]struct{ path, token string }{
		"forged":  {path + resume.Token[:len(resume.Token)-2] + "AA", token},
		"no":      {path + "x", token},
		"foreign": {path + resume.Token, foreign},
	} {
		_, err := w.tryDial(1, dial.path, dial.token)
		var problem *Problem
		if !errors.As(err, &problem) || problem.Status != 401 || len(problem.Validations) != 1 || problem.Validations[0].Field != "resume_token" {
			t.Fatalf("%s token: %v", name, err)
		}
	}
}

func TestB114_AResumeTokenOnAnotherPathClosesTunnelsToOthers(t *testing.T) {
	w := newWorld(t)
	first, _, _ := w.agent(0)
	second, _, secondCall := w.agent(1)
	third, _, thirdCall := w.agent(1)
	token := w.key()
	client := w.dial(0, "/api/v2/tailnet?version=2.0", token)
	call := w.coordinate(client)
	w.must(call.Announce(node(2, "fd7a::2/128")))
	for _, agent := range []uuid.UUID{first, second, third} {
		w.must(call.Open(agent))
	}
	var peer uuid.UUID
	for _, agent := range []*Coordination{secondCall, thirdCall} {
		updates, err := agent.Await(patience, func(update *update) bool { return update.Kind == nodeKind })
		w.must(err)
		peer = uuid.UUID(updates[0].Id)
	}
	resume := &tailnetpb.RefreshResumeTokenResponse{}
	w.must(client.Call(context.Background(), RefreshResumeToken, &tailnetpb.RefreshResumeTokenRequest{}, resume))

	back := w.coordinate(w.dial(1, coordinatePath(first)+"&resume_token="+resume.Token, token))
	for _, agent := range []*Coordination{secondCall, thirdCall} {
		_, err := agent.Await(patience, told(peer, disconnected))
		w.must(err)
	}
	_, err := back.Await(patience, told(first, nodeKind))
	w.must(err)
	if left := value[int](w, "SELECT count(*) FROM tailnet.tunnels WHERE src_id = $1", peer); left != 1 {
		t.Fatalf("%d tunnels are left", left)
	}
}

func TestB116_AnUnknownRPCDisturbsNothing(t *testing.T) {
	w := newWorld(t)
	agent, client, call := w.agent(0)
	for _, path := range []string{"/coder.tailnet.v2.Tailnet/NoSuchMethod", "/coder.tailnet.v2.Tailnet/WorkspaceUpdates", "nonsense"} {
		err := client.Call(context.Background(), path, &tailnetpb.TelemetryRequest{}, &tailnetpb.TelemetryResponse{})
		if err == nil || drpcerr.Code(err) != 12 || !strings.Contains(err.Error(), `unknown rpc: "`+path+`"`) {
			t.Fatalf("%s: %v", path, err)
		}
	}
	other := w.coordinate(w.dial(1, coordinatePath(agent), w.key()))
	w.must(other.Announce(node(2, "fd7a::2/128")))
	w.must(other.Open(agent))
	_, err := call.Await(patience, func(update *update) bool { return update.Kind == nodeKind })
	w.must(err)
}

func TestB115_AChangeOfTheDERPMapIsToldOnce(t *testing.T) {
	w := newWorld(t)
	agent, _, _ := w.agent(0)
	token := w.key()
	for proxy := range w.proxies {
		stream, err := w.dial(proxy, coordinatePath(agent), token).Stream(context.Background(), StreamDERPMaps)
		w.must(err)
		w.must(stream.MsgSend(&tailnetpb.StreamDERPMapsRequest{}, Encoding{}))
		w.must(stream.CloseSend())
		defer func() {
			// The map of the change below, and nothing before it.
			next := &tailnetpb.DERPMap{}
			w.must(stream.MsgRecv(next, Encoding{}))
			if next.Regions[7].GetRegionCode() != "seven" {
				t.Errorf("proxy %d told %v", proxy, next)
			}
		}()
		first := &tailnetpb.DERPMap{}
		w.must(stream.MsgRecv(first, Encoding{}))
		if first.Regions[1].GetNodes()[0].GetHostName() != "derp.example.com" {
			t.Fatalf("proxy %d told %v", proxy, first)
		}
	}
	w.sql("SELECT tailnet.set_derp_map($1, $2)", w.network,
		`{"Regions":{"7":{"RegionID":7,"RegionCode":"seven","Nodes":[{"Name":"7a","RegionID":7,"HostName":"derp.example.com"}]}}}`)
}

func TestConnectionTellsTheDERPMap(t *testing.T) {
	w := newWorld(t)
	agent, _, _ := w.agent(0)
	token := w.key()
	get := func(path, token string) (int, map[string]any) {
		request, err := http.NewRequest("GET", strings.Replace(w.proxy(1), "ws", "http", 1)+path, nil)
		w.must(err)
		request.Header = Token(token)
		response, err := http.DefaultClient.Do(request)
		w.must(err)
		defer response.Body.Close()
		body := map[string]any{}
		w.must(json.NewDecoder(response.Body).Decode(&body))
		return response.StatusCode, body
	}
	status, body := get("/api/v2/workspaceagents/"+agent.String()+"/connection", token)
	if regions, _ := body["derp_map"].(map[string]any)["Regions"].(map[string]any); status != 200 || regions["1"] == nil {
		t.Fatalf("%d %v", status, body)
	}
	if status, body = get("/api/v2/workspaceagents/connection", token); status != 200 {
		t.Fatalf("%d %v", status, body)
	}
	// An agent that does not exist is like one of another network and one that is not allowed.
	foreign := newWorld2(w)
	stranger, _ := foreign.peer("agent")
	_, powerless := w.peer("client")
	w.sql("SELECT tailnet.set_clients_reach_all_agents($1, false)", w.network)
	var texts []string
	for _, dial := range []struct {
		agent uuid.UUID
		token string
	}{{uuid.New(), token}, {stranger, token}, {agent, powerless}} {
		status, body = get("/api/v2/workspaceagents/"+dial.agent.String()+"/connection", dial.token)
		text, _ := json.Marshal(body)
		if texts = append(texts, string(text)); status != 404 || texts[0] != texts[len(texts)-1] {
			t.Fatalf("%d %v", status, texts)
		}
		_, err := w.tryDial(0, coordinatePath(dial.agent), dial.token)
		var problem *Problem
		if !errors.As(err, &problem) || problem.Status != 404 {
			t.Fatalf("coordinate: %v", err)
		}
	}
	w.sql("SELECT tailnet.set_derp_map($1, NULL)", w.network)
	deadline := time.Now().Add(patience)
	for status != 503 && time.Now().Before(deadline) {
		status, body = get("/api/v2/workspaceagents/connection", token)
	}
	if detail, _ := body["detail"].(string); status != 503 || !strings.Contains(detail, "tailnet.set_derp_map") {
		t.Fatalf("%d %v", status, body)
	}
}

// newWorld2 is another network in the same test.
func newWorld2(w *world) *world {
	other := *w
	other.network += "_other"
	other.sql("SELECT tailnet.create_network($1)", other.network)
	return &other
}

func TestDialsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	_, client := w.peer("client")
	_, agent := w.peer("agent")
	rpc := "/api/v2/workspaceagents/me/rpc"
	for _, dial := range []struct {
		path, token string
		status      int
		text        string
	}{
		{"/api/v2/tailnet", client, 400, "Unknown or unsupported API version"},
		{"/api/v2/tailnet?version=1.0", client, 400, "Unknown or unsupported API version"},
		{"/api/v2/tailnet?version=3.0", client, 400, "Unknown or unsupported API version"},
		{"/api/v2/tailnet?version=2.0", "", 401, "expected a token"},
		{"/api/v2/tailnet?version=2.0", "tnk_nonsense", 401, "checksum"},
		{"/api/v2/tailnet?version=2.0", "nonsense", 401, "unknown or revoked token"},
		{"/api/v2/workspaceagents/nonsense/coordinate?version=2.0", client, 400, "nonsense"},
		{rpc + "?version=2.0", client, 403, "Only an agent"},
		{"/api/v2/workspaceagents/me/reinit", agent, 409, "does not begin anew"},
		{"/api/v2/nothing?version=2.0", agent, 404, "Route not found"},
	} {
		_, err := w.tryDial(0, dial.path, dial.token)
		var problem *Problem
		if !errors.As(err, &problem) || problem.Status != dial.status || !strings.Contains(err.Error(), dial.text) {
			t.Errorf("%s: %v", dial.path, err)
		}
	}
	// The cookie of older agents, and not with an origin.
	for origin, good := range map[string]bool{"": true, "https://evil.example": false} {
		header := http.Header{"Cookie": {"coder_session_token=" + agent}}
		if origin != "" {
			header.Set("Origin", origin)
		}
		connection, err := Dial(context.Background(), w.proxy(0), rpc+"?version=2.6", header)
		if good != (err == nil) {
			t.Errorf("origin %q: %v", origin, err)
		}
		if err == nil {
			connection.Drop()
		}
	}
}

func TestATextFrameIsRefused(t *testing.T) {
	w := newWorld(t)
	_, token := w.peer("client")
	client := w.dial(0, "/api/v2/tailnet?version=2.0", token)
	w.must(client.socket.Write(context.Background(), websocket.MessageText, []byte("hello")))
	select {
	case <-client.Ended():
	case <-time.After(patience):
		t.Fatal("the connection goes on")
	}
}
