package stand

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
)

// Gate is what a driver reaches the API server through. It can be shut.
type Gate struct {
	listener net.Listener
	backend  string

	mu      sync.Mutex
	shut    bool
	conns   map[net.Conn]bool
	refused int
}

// OpenGate opens a gate to an address.
func OpenGate(ctx context.Context, backend string) (*Gate, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a gate to %s: %w", backend, err)
	}
	g := &Gate{listener: listener, backend: backend, conns: map[net.Conn]bool{}}
	go g.serve(ctx)
	return g, nil
}

// Addr is where the gate is.
func (g *Gate) Addr() string { return g.listener.Addr().String() }

// Shut ends all connections, and those that come are ended at once.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	for conn := range g.conns {
		_ = conn.Close()
	}
}

// Open lets connections through again.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = false
}

// Refused counts the connections that found the gate shut.
func (g *Gate) Refused() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refused
}

// Close removes the gate.
func (g *Gate) Close() error {
	g.Shut()
	return g.listener.Close()
}

func (g *Gate) serve(ctx context.Context) {
	for {
		conn, err := g.listener.Accept()
		if err != nil {
			return
		}
		go g.pass(ctx, conn)
	}
}

// pass carries what two ends say to each other until one of them is silent for good.
func (g *Gate) pass(ctx context.Context, front net.Conn) {
	defer g.leave(front)
	if !g.enter(front) {
		return
	}
	var dialer net.Dialer
	back, err := dialer.DialContext(ctx, "tcp", g.backend)
	if err != nil {
		return
	}
	defer g.leave(back)
	if !g.enter(back) {
		return
	}
	ended := make(chan struct{}, 2)
	carry := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // an end is no error
		ended <- struct{}{}
	}
	go carry(back, front)
	go carry(front, back)
	<-ended
}

// enter says whether a connection may go on.
func (g *Gate) enter(conn net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		g.refused++
		return false
	}
	g.conns[conn] = true
	return true
}

func (g *Gate) leave(conn net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, conn)
	_ = conn.Close()
}
