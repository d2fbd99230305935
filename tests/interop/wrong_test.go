package interop

import (
	"context"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.org/pg_tailnet/interop/tailnetpb"
)

func timestamp(at time.Time) *timestamppb.Timestamp {
	return timestamppb.New(at)
}

// frame is a header of yamux.
func frame(version, kind byte, flags uint16, stream, length uint32) []byte {
	header := []byte{version, kind}
	header = binary.BigEndian.AppendUint16(header, flags)
	header = binary.BigEndian.AppendUint32(header, stream)
	return binary.BigEndian.AppendUint32(header, length)
}

// Bytes that no library sends. Each ends its own connection, or is ignored, and no other.
func TestBytesThatBreakARule(t *testing.T) {
	w := newWorld(t)
	agent, _, agentCall := w.agent(0)
	token := w.key()
	witness := w.coordinate(w.dial(1, coordinatePath(agent), token))
	w.must(witness.Open(agent))
	_, err := witness.Await(patience, told(agent, nodeKind))
	w.must(err)

	opened := frame(0, 1, 1, 1, 0)
	data := func(bytes string) []byte {
		return append(frame(0, 0, 0, 1, uint32(len(bytes))), bytes...)
	}
	invoke := "\x03\x01\x01" + string(rune(len(Coordinate))) + Coordinate
	for name, wrong := range map[string]struct {
		bytes []byte
		// The connection ends, with this text.
		text string
	}{
		"another version of yamux":    {frame(9, 0, 0, 1, 0), "yamux version 9"},
		"a kind that does not exist":  {frame(0, 7, 0, 1, 0), "yamux frame of kind 7"},
		"a stream of the other side":  {frame(0, 1, 1, 2, 0), "yamux stream 2"},
		"a stream that opens twice":   {append(opened, opened...), "opened twice"},
		"a window that is overrun":    {append(opened, frame(0, 0, 0, 1, 300<<10)...), "with a window of"},
		"a window without end":        {append(opened, frame(0, 1, 0, 1, 1<<32-1)...), "window that is too large"},
		"a frame that is too large":   {make([]byte, 200<<10), "message too large"},
		"more than may be held":       {append(append(opened, data(invoke)...), data(strings.Repeat("\x05\x01\x02\x00", 1))...), ""},
		"ten thousand streams":        {[]byte(strings.Repeat(string(frame(0, 1, 1, 101, 0))+string(frame(0, 1, 8, 101, 0)), 5000)), ""},
		"pings that nobody reads":     {[]byte(strings.Repeat(string(frame(0, 2, 1, 0, 7)), 10_000)), ""},
		"a protobuf that is cut":      {append(append(opened, data(invoke)...), data("\x05\x01\x02\x02\x0a\x7f")...), ""},
		"a call before it is invoked": {append(opened, data("\x05\x01\x01\x00")...), ""},
		"nonsense in a call":          {append(opened, data("\xff\xff\xff\xff")...), ""},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			socket, _, err := websocket.Dial(ctx, w.proxy(1)+coordinatePath(agent), &websocket.DialOptions{HTTPHeader: Token(token)})
			w.must(err)
			defer func() { _ = socket.CloseNow() }()
			w.must(socket.Write(ctx, websocket.MessageBinary, wrong.bytes))
			if wrong.text == "" {
				// It is answered, and goes on: a ping is answered.
				w.must(socket.Write(ctx, websocket.MessageBinary, frame(0, 2, 1, 0, 4242)))
				stream, pong := websocket.NetConn(ctx, socket, websocket.MessageBinary), frame(0, 2, 2, 0, 4242)
				for seen := ""; !strings.Contains(seen, string(pong)); {
					buffer := make([]byte, 4096)
					n, err := stream.Read(buffer)
					if err != nil {
						t.Fatalf("%v after %q", err, seen)
					}
					seen = seen[max(0, len(seen)-24):] + string(buffer[:n])
				}
				return
			}
			for err == nil {
				_, _, err = socket.Read(ctx)
			}
			if err == io.EOF || !strings.Contains(err.Error(), wrong.text) {
				t.Fatal(err)
			}
		})
	}
	// The others did not notice.
	w.must(agentCall.Announce(node(77, own(agent))))
	_, err = witness.Await(patience, func(update *tailnetpb.CoordinateResponse_PeerUpdate) bool { return update.Node.GetId() == 77 })
	w.must(err)
}
