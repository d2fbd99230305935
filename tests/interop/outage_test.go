package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// couple is an agent and a client with a tunnel to it.
type couple struct {
	number                int64
	agent, client         uuid.UUID
	agentToken            string
	agentCall, clientCall *Coordination
}

func (c *couple) clientAddress() string {
	return fmt.Sprintf("fd7a:115c:a1e0::%x/128", c.number+1)
}

// inParallel does the work for all couples, some at a time.
func inParallel(couples []*couple, work func(*couple) error) error {
	var working sync.WaitGroup
	failed, turns := make(chan error, len(couples)), make(chan struct{}, 50)
	for _, c := range couples {
		working.Add(1)
		go func() {
			defer working.Done()
			turns <- struct{}{}
			defer func() { <-turns }()
			if err := work(c); err != nil {
				failed <- fmt.Errorf("couple %d: %w", c.number, err)
			}
		}()
	}
	working.Wait()
	close(failed)
	return <-failed
}

// without says what must not be told.
func without(told []*update, kinds ...any) error {
	for _, update := range told {
		for _, kind := range kinds {
			if update.Kind == kind {
				return fmt.Errorf("it was told %v", update)
			}
		}
	}
	return nil
}

// exchange announces new nodes of both, and waits until each knows that of the other. Returns what was told on the way.
func (c *couple) exchange(derp int32) (toAgent, toClient []*update, err error) {
	ofAgent, ofClient := node(c.number, own(c.agent)), node(c.number, c.clientAddress())
	ofAgent.PreferredDerp, ofClient.PreferredDerp = derp, derp
	if err := c.agentCall.Announce(ofAgent); err != nil {
		return nil, nil, err
	}
	if err := c.clientCall.Announce(ofClient); err != nil {
		return nil, nil, err
	}
	new := func(update *update) bool { return update.Kind == nodeKind && update.Node.PreferredDerp == derp }
	if toAgent, err = c.agentCall.Await(patience, new); err != nil {
		return nil, nil, err
	}
	c.client = uuid.UUID(toAgent[len(toAgent)-1].Id)
	toClient, err = c.clientCall.Await(patience, new)
	return toAgent, toClient, err
}

const agentPath = "/api/v2/workspaceagents/me/rpc?version=2.6"

// 500 connections: those of agents on one proxy, those of clients, which share a key, on the other. It restarts what the other
// tests use, so it does not run beside them.
func TestNobodyIsLostInARestart(t *testing.T) {
	w := newWorldAlone(t)
	key := w.key()
	couples := make([]*couple, 250)
	for i := range couples {
		couples[i] = &couple{number: int64(i)}
		couples[i].agent, couples[i].agentToken = w.peer("agent")
	}
	connect := func(c *couple, proxy int, path, token string) (*Coordination, error) {
		deadline := time.Now().Add(patience)
		for {
			client, err := w.tryDial(proxy, path, token)
			if err == nil {
				t.Cleanup(client.Drop)
				return client.Coordinate(context.Background())
			}
			// As real clients: a proxy that drains, starts or has lost Postgres is dialled again.
			if time.Now().After(deadline) {
				return nil, err
			}
		}
	}
	w.must(inParallel(couples, func(c *couple) (err error) {
		if c.agentCall, err = connect(c, 0, agentPath, c.agentToken); err != nil {
			return err
		}
		if c.clientCall, err = connect(c, 1, coordinatePath(c.agent), key); err != nil {
			return err
		}
		if err = c.clientCall.Open(c.agent); err != nil {
			return err
		}
		_, _, err = c.exchange(1)
		return err
	}))

	run := func(program string, arguments ...string) {
		t.Helper()
		if output, err := exec.Command(program, arguments...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v: %s", program, arguments, err, output)
		}
	}
	run("../cluster", "stop", "interop", "immediate")
	run("../cluster", "start", "interop")
	w.must(inParallel(couples, func(c *couple) error {
		toAgent, toClient, err := c.exchange(2)
		if err != nil {
			return err
		}
		return without(append(toAgent, toClient...), lost, disconnected)
	}))

	run("../stack", "restart", "interop", os.Getenv("STATE"), "1")
	w.must(inParallel(couples, func(c *couple) (err error) {
		for range c.agentCall.Responses {
		}
		if c.agentCall, err = connect(c, 0, agentPath, c.agentToken); err != nil {
			return err
		}
		client := c.client
		toAgent, toClient, err := c.exchange(3)
		if err != nil {
			return err
		}
		if client != c.client {
			return fmt.Errorf("the client was %s and is %s", client, c.client)
		}
		// The agent was away, and the client was not.
		if err := without(toAgent, lost, disconnected); err != nil {
			return err
		}
		return without(toClient, disconnected)
	}))
}
