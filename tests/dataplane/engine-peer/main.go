// engine-peer is a client on the engine of real tailnet v2 clients, and a relay for it: what "make demo-v2" runs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/google/uuid"
	"tailscale.com/types/logger"

	"example.org/pg_tailnet/dataplane"
)

const usage = `usage:
  engine-peer relay
        Be a DERP relay on loopback until SIGTERM or Ctrl-C. Prints its DERP map.
  engine-peer echo -url ws://HOST:PORT -to AGENT [-bytes N] [-timeout DURATION] [-hold]
        Be a client: send bytes to an agent through WireGuard and check that each comes back.
        The token is read from TAILNET_TOKEN.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Print(usage)
			return
		}
		fmt.Fprintln(os.Stderr, "engine-peer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("relay or echo?\n" + usage)
	}
	switch arguments[0] {
	case "relay":
		return relay(ctx)
	case "echo":
		return echo(ctx, arguments[1:])
	case "-h", "-help", "--help", "help":
		return flag.ErrHelp
	default:
		return fmt.Errorf("relay or echo, not %q\n%s", arguments[0], usage)
	}
}

func relay(ctx context.Context) error {
	relay, err := dataplane.NewRelay(logger.Discard)
	if err != nil {
		return err
	}
	fmt.Println("relay", relay.Map())
	<-ctx.Done()
	return relay.Close()
}

func echo(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("echo", flag.ContinueOnError)
	flags.Usage = func() {}
	proxy := flags.String("url", "", "a proxy of the network")
	to := flags.String("to", "", "the agent's id")
	total := flags.Int64("bytes", 1<<20, "how many bytes to send")
	timeout := flags.Duration("timeout", time.Minute, "give up after this long")
	hold := flags.Bool("hold", false, "stay connected until SIGTERM or Ctrl-C")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	agent, err := uuid.Parse(*to)
	if err != nil {
		return fmt.Errorf("-to must be the id of an agent: %w", err)
	}
	if at, err := url.Parse(*proxy); err != nil || (at.Scheme != "ws" && at.Scheme != "wss") {
		return fmt.Errorf("-url must be ws://HOST:PORT or wss://HOST, not %q", *proxy)
	}
	if *total < 1 {
		return fmt.Errorf("-bytes must be at least 1, not %d", *total)
	}
	token := os.Getenv("TAILNET_TOKEN")
	if token == "" {
		return errors.New("TAILNET_TOKEN must hold a token of a client")
	}

	device, err := dataplane.NewDevice(dataplane.ClientAddress(), logger.Discard)
	if err != nil {
		return err
	}
	defer device.Close()
	limited, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	link, err := dataplane.Connect(limited, device, *proxy,
		fmt.Sprintf("/api/v2/workspaceagents/%s/coordinate?version=2.0", agent), token)
	if err != nil {
		return err
	}
	defer link.Close()
	if err := link.Open(agent); err != nil {
		return fmt.Errorf("open a tunnel: %w", err)
	}
	echoed := make(chan error, 1)
	go func() { echoed <- dataplane.Echo(limited, device, dataplane.AgentAddress(agent), *total, nil) }()
	select {
	case err := <-echoed:
		if err != nil {
			return err
		}
	case <-link.Ended():
		return fmt.Errorf("the connection to the proxy ended: %w", link.Err)
	}
	fmt.Printf("echo ok sent=%d received=%d\n", *total, *total)
	if *hold {
		<-ctx.Done()
	}
	return nil
}
