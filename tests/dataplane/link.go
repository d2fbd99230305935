package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"storj.io/drpc"

	"example.org/pg_tailnet/interop"
	"example.org/pg_tailnet/interop/tailnetpb"
)

// Link is one connection of a device to a proxy.
type Link struct {
	client *interop.Client
	call   *interop.Coordination
	relays drpc.Stream
	device *Device
	// node has the newest node that was not sent yet.
	node    chan *tailnetpb.Node
	working sync.WaitGroup
	ended   chan struct{}
	// Err says how it ended, once Ended is closed.
	Err error
}

// Connect connects a device: from now on it announces its node and knows what it is told. The path has the query.
func Connect(ctx context.Context, device *Device, proxy, path, token string) (*Link, error) {
	client, err := interop.Dial(ctx, proxy, path, interop.Token(token))
	if err != nil {
		return nil, err
	}
	l := &Link{client: client, device: device, node: make(chan *tailnetpb.Node, 1), ended: make(chan struct{})}
	if l.call, err = client.Coordinate(context.Background()); err != nil {
		client.Drop()
		return nil, fmt.Errorf("coordinate: %w", err)
	}
	if l.relays, err = client.Stream(context.Background(), interop.StreamDERPMaps); err == nil {
		err = l.relays.MsgSend(&tailnetpb.StreamDERPMapsRequest{}, interop.Encoding{})
	}
	if err != nil {
		client.Drop()
		return nil, fmt.Errorf("ask for relays: %w", err)
	}
	device.OnNode(func(node *tailnetpb.Node) {
		select {
		case <-l.node: // an older one
		default:
		}
		l.node <- node
	})
	failed := make(chan error, 3)
	for _, work := range []func() error{l.takeRelays, l.takeUpdates, l.sendNodes} {
		l.working.Add(1)
		go func() {
			defer l.working.Done()
			failed <- work()
		}()
	}
	go func() {
		l.Err = <-failed
		close(l.ended)
		client.Drop()
	}()
	return l, nil
}

// Ended is closed when the connection is.
func (l *Link) Ended() <-chan struct{} {
	return l.ended
}

// Close ends it without a goodbye.
func (l *Link) Close() {
	l.client.Drop()
	<-l.ended
	l.working.Wait()
}

// Open asks for a tunnel.
func (l *Link) Open(peer uuid.UUID) error {
	return l.call.Open(peer)
}

// ResumeToken asks for a token, with which another connection is the same peer.
func (l *Link) ResumeToken(ctx context.Context) (string, error) {
	answer := &tailnetpb.RefreshResumeTokenResponse{}
	err := l.client.Call(ctx, interop.RefreshResumeToken, &tailnetpb.RefreshResumeTokenRequest{}, answer)
	return answer.Token, err
}

func (l *Link) takeRelays() error {
	var last *tailnetpb.DERPMap
	for {
		relays := &tailnetpb.DERPMap{}
		if err := l.relays.MsgRecv(relays, interop.Encoding{}); err != nil {
			return fmt.Errorf("relays: %w", err)
		}
		if !proto.Equal(relays, last) {
			l.device.SetRelays(relays)
			last = relays
		}
	}
}

func (l *Link) takeUpdates() error {
	for response := range l.call.Responses {
		if response.Error != "" {
			return fmt.Errorf("refused: %s", response.Error)
		}
		if err := l.device.Take(response.PeerUpdates); err != nil {
			return err
		}
	}
	if errors.Is(l.call.Err, io.EOF) {
		return errors.New("the proxy ended the call")
	}
	return l.call.Err
}

func (l *Link) sendNodes() error {
	for {
		select {
		case node := <-l.node:
			if err := l.call.Announce(node); err != nil {
				return fmt.Errorf("announce: %w", err)
			}
		case <-l.ended:
			return nil
		}
	}
}
