package dataplane

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// EchoPort is where devices echo.
const EchoPort = 7

// ServeEcho sends back what comes, until the other end closes.
func ServeEcho(connection net.Conn) {
	defer connection.Close()
	_, _ = io.Copy(connection, connection) // the other end sees what is missing
}

// Echo sends so many bytes to a partner's echo service, and compares what comes back. It calls progress, which may be nil,
// with how many came.
func Echo(ctx context.Context, device *Device, partner netip.Addr, total int64, progress func(int64)) error {
	connection, err := dial(ctx, device, netip.AddrPortFrom(partner, EchoPort))
	if err != nil {
		return err
	}
	defer connection.Close()
	defer context.AfterFunc(ctx, func() { _ = connection.SetDeadline(time.Unix(1, 0)) })()

	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(connection, io.LimitReader(stream(), total))
		sent <- err
	}()
	expected, got, want := stream(), make([]byte, 16<<10), make([]byte, 16<<10)
	for received := int64(0); received < total; {
		n, err := connection.Read(got)
		if err != nil {
			return fmt.Errorf("%d of %d bytes came back: %w", received, total, err)
		}
		if received+int64(n) > total {
			return fmt.Errorf("more than the %d bytes that were sent came back", total)
		}
		_, _ = io.ReadFull(expected, want[:n]) // never fails
		if !bytes.Equal(got[:n], want[:n]) {
			return fmt.Errorf("wrong bytes came back after %d", received)
		}
		received += int64(n)
		if progress != nil {
			progress(received)
		}
	}
	return <-sent
}

// stream is what is sent: the same bytes each time, without a period.
func stream() io.Reader {
	return rand.NewChaCha8([32]byte{1})
}

// dial dials until it is answered: a partner may not know us yet.
func dial(ctx context.Context, device *Device, to netip.AddrPort) (net.Conn, error) {
	for {
		attempt, cancel := context.WithTimeout(ctx, 3*time.Second)
		connection, err := device.Dial(attempt, to)
		cancel()
		if err == nil {
			return connection, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("dial %s: %w", to, err)
		}
	}
}
