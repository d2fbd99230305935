// Package interop is a client of tailnet v2 that is made of the libraries of real clients, and of messages from our .proto
// files. The tests in it connect it to running proxies.
package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/hashicorp/yamux"
	"google.golang.org/protobuf/proto"
	"storj.io/drpc"
	"storj.io/drpc/drpcconn"

	"example.org/pg_tailnet/interop/tailnetpb"
)

// Client is one connection.
type Client struct {
	socket  *websocket.Conn
	session *yamux.Session
}

// Encoding is how dRPC writes protobuf.
type Encoding struct{}

func (Encoding) Marshal(message drpc.Message) ([]byte, error) {
	return proto.Marshal(message.(proto.Message))
}

func (Encoding) Unmarshal(bytes []byte, message drpc.Message) error {
	return proto.Unmarshal(bytes, message.(proto.Message))
}

// Problem is the answer to a dial that did not become a websocket.
type Problem struct {
	Status      int
	RetryAfter  string
	Message     string `json:"message"`
	Detail      string `json:"detail"`
	Validations []struct {
		Field  string `json:"field"`
		Detail string `json:"detail"`
	} `json:"validations"`
}

func (p *Problem) Error() string {
	return fmt.Sprintf("%d: %s %s %v", p.Status, p.Message, p.Detail, p.Validations)
}

// Dial opens a connection. The path has the query.
func Dial(ctx context.Context, proxy, path string, header http.Header) (*Client, error) {
	socket, response, err := websocket.Dial(ctx, proxy+path, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		if response == nil {
			return nil, err
		}
		return nil, problem(response)
	}
	socket.SetReadLimit(4 << 20)
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	session, err := yamux.Client(websocket.NetConn(context.Background(), socket, websocket.MessageBinary), config)
	if err != nil {
		return nil, err
	}
	return &Client{socket, session}, nil
}

func problem(response *http.Response) error {
	problem := &Problem{Status: response.StatusCode, RetryAfter: response.Header.Get("Retry-After")}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if kind := response.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		return fmt.Errorf("%d with a body of type %q: %s", response.StatusCode, kind, body)
	}
	if err := json.Unmarshal(body, problem); err != nil {
		return fmt.Errorf("%d with a body that is not JSON: %w", response.StatusCode, err)
	}
	return problem
}

// Token is the header with a token.
func Token(token string) http.Header {
	return http.Header{"Coder-Session-Token": {token}}
}

// Close ends the connection as programs do.
func (c *Client) Close() {
	_ = c.socket.Close(websocket.StatusNormalClosure, "")
	_ = c.session.Close()
}

// Drop ends the connection without a word.
func (c *Client) Drop() {
	_ = c.socket.CloseNow()
	_ = c.session.Close()
}

// Ended is closed when the connection is.
func (c *Client) Ended() <-chan struct{} {
	return c.session.CloseChan()
}

func (c *Client) conn() (*drpcconn.Conn, error) {
	stream, err := c.session.OpenStream()
	if err != nil {
		return nil, err
	}
	return drpcconn.New(net.Conn(stream)), nil
}

// Call makes a call with one answer.
func (c *Client) Call(ctx context.Context, path string, in, out proto.Message) error {
	conn, err := c.conn()
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Invoke(ctx, path, Encoding{}, in, out)
}

// Stream begins a call with many messages.
func (c *Client) Stream(ctx context.Context, path string) (drpc.Stream, error) {
	conn, err := c.conn()
	if err != nil {
		return nil, err
	}
	return conn.NewStream(ctx, path, Encoding{})
}

// Paths of calls.
const (
	Coordinate         = "/coder.tailnet.v2.Tailnet/Coordinate"
	StreamDERPMaps     = "/coder.tailnet.v2.Tailnet/StreamDERPMaps"
	RefreshResumeToken = "/coder.tailnet.v2.Tailnet/RefreshResumeToken"
	PostTelemetry      = "/coder.tailnet.v2.Tailnet/PostTelemetry"
)

// Coordination is the call Coordinate, with what it was told.
type Coordination struct {
	stream drpc.Stream
	// Responses are told in their order. It is closed when the call ends.
	Responses chan *tailnetpb.CoordinateResponse
	// Err says how it ended, once Responses is closed.
	Err error
}

// Coordinate begins the call.
func (c *Client) Coordinate(ctx context.Context) (*Coordination, error) {
	stream, err := c.Stream(ctx, Coordinate)
	if err != nil {
		return nil, err
	}
	coordination := &Coordination{stream: stream, Responses: make(chan *tailnetpb.CoordinateResponse, 4096)}
	go func() {
		defer close(coordination.Responses)
		for {
			response := &tailnetpb.CoordinateResponse{}
			if err := stream.MsgRecv(response, Encoding{}); err != nil {
				coordination.Err = err
				return
			}
			coordination.Responses <- response
		}
	}()
	return coordination, nil
}

// Send sends a request.
func (c *Coordination) Send(request *tailnetpb.CoordinateRequest) error {
	return c.stream.MsgSend(request, Encoding{})
}

// Announce sends a node.
func (c *Coordination) Announce(node *tailnetpb.Node) error {
	return c.Send(&tailnetpb.CoordinateRequest{UpdateSelf: &tailnetpb.CoordinateRequest_UpdateSelf{Node: node}})
}

// Open asks for a tunnel.
func (c *Coordination) Open(peer uuid.UUID) error {
	return c.Send(&tailnetpb.CoordinateRequest{AddTunnel: &tailnetpb.CoordinateRequest_Tunnel{Id: peer[:]}})
}

// Await waits until an update is told for which good says yes, and returns all that were told on the way.
func (c *Coordination) Await(limit time.Duration, good func(*tailnetpb.CoordinateResponse_PeerUpdate) bool) ([]*tailnetpb.CoordinateResponse_PeerUpdate, error) {
	var told []*tailnetpb.CoordinateResponse_PeerUpdate
	deadline := time.After(limit)
	for {
		select {
		case response, open := <-c.Responses:
			if !open {
				return told, fmt.Errorf("the call ended: %w", c.Err)
			}
			if response.Error != "" {
				return told, fmt.Errorf("refused: %s", response.Error)
			}
			for _, update := range response.PeerUpdates {
				told = append(told, update)
				if good(update) {
					return told, nil
				}
			}
		case <-deadline:
			return told, fmt.Errorf("not told within %s, but %v", limit, told)
		}
	}
}

// Refused waits for a response with an error, and for the end of the call when it ends with it.
func (c *Coordination) Refused(limit time.Duration) (text string, ended bool, err error) {
	deadline := time.After(limit)
	for {
		select {
		case response, open := <-c.Responses:
			if !open {
				return text, true, nil
			}
			if response.Error != "" {
				text = response.Error
			}
		case <-deadline:
			if text == "" {
				return "", false, fmt.Errorf("no error within %s", limit)
			}
			return text, false, nil
		}
	}
}
