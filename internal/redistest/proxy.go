package redistest

import (
	"net"
	"strings"
	"sync"
	"time"
)

// Proxy passes TCP connections on to a Redis server and does harm to them on demand. Every fault may be
// switched at any time, concerns connections that exist as well as new ones unless its comment says
// otherwise, and is independent of the others.
type Proxy struct {
	t    T
	port int
	wg   sync.WaitGroup // the accept loop and the pumps of every connection

	mu       sync.Mutex
	target   string
	listener net.Listener // nil while connections are refused
	links    map[*link]struct{}
	closed   bool
	cuts     int // how often Cut was called: what was still on its way then is not to survive it
	latency  time.Duration
	gate     chan struct{} // closed while bytes may pass
	drops    int           // replies still to be lost, negative for all
	dropOnly map[string]bool
	dropped  int
}

// NewProxy starts a proxy to target on a loopback port of its own. It ends with the test.
func NewProxy(t T, target string) *Proxy {
	t.Helper()
	p := &Proxy{t: t, target: target, links: map[*link]struct{}{}, gate: make(chan struct{})}
	close(p.gate)
	p.listen(func() { p.port = reservePort(t) })
	t.Cleanup(p.close)
	return p
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return loopback(p.port) }

// Target gives new connections another server. Follow it with Cut to move the existing ones.
func (p *Proxy) Target(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Cut resets all connections. New ones are accepted at once.
func (p *Proxy) Cut() {
	p.mu.Lock()
	p.cuts++
	p.mu.Unlock()
	for _, l := range p.snapshot() {
		l.reset()
	}
}

// Refuse closes or opens the port: new connections are refused while it is on, existing ones go on.
func (p *Proxy) Refuse(on bool) {
	p.t.Helper()
	if on {
		p.stopListening()
		return
	}
	p.listen(func() {})
}

// Blackhole lets nothing through while it is on: connections are accepted and stay open, and no byte passes
// in either direction. What was sent meanwhile is delivered when it ends, as after a network outage.
func (p *Proxy) Blackhole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := true
	select {
	case <-p.gate:
		held = false
	default:
	}
	switch {
	case on && !held:
		p.gate = make(chan struct{})
	case !on && held:
		close(p.gate)
	}
}

// Latency lets everything that the server sends arrive d later, in order and without limiting throughput, so
// that each round trip takes d longer. 0 ends it.
func (p *Proxy) Latency(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency = d
}

// DropReplies loses the replies to the next n commands of the given names (in any case; none for all names
// but those that set up a connection): Redis executes the command, and before its reply arrives the
// connection is closed. Each such command costs its connection, and the replies to what stood before it in
// the same pipeline may be lost too. A negative n means all until the next call, 0 ends it.
//
// A blocking command is not waited for: Redis gives it up when the connection closes.
func (p *Proxy) DropReplies(n int, commands ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drops, p.dropOnly = n, nil
	for _, c := range commands {
		if p.dropOnly == nil {
			p.dropOnly = map[string]bool{}
		}
		p.dropOnly[strings.ToLower(c)] = true
	}
}

// Dropped is how many replies DropReplies has lost so far.
func (p *Proxy) Dropped() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped
}

// Connections is how many connections are open through the proxy.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// setUp are the commands that a client sends on its own account when it connects.
var setUp = map[string]bool{"hello": true, "auth": true, "client": true, "select": true, "readonly": true}

// takeDrop reports whether the reply to a command, given in lower case, is to be lost.
func (p *Proxy) takeDrop(command string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drops == 0 || p.dropOnly == nil && setUp[command] || p.dropOnly != nil && !p.dropOnly[command] {
		return false
	}
	if p.drops > 0 {
		p.drops--
	}
	p.dropped++
	return true
}

func (p *Proxy) delay() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latency
}

// pass waits until bytes may pass and reports false when the connection ended before.
func (p *Proxy) pass(ended <-chan struct{}) bool {
	p.mu.Lock()
	gate := p.gate
	p.mu.Unlock()
	select {
	case <-gate:
		return true
	case <-ended:
		return false
	}
}

// listen opens the port unless it is open. Before each attempt choose may change it.
func (p *Proxy) listen(choose func()) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil || p.closed {
		return
	}
	deadline := time.Now().Add(readyLimit)
	for {
		choose()
		l, err := net.Listen("tcp", loopback(p.port))
		if err == nil {
			p.listener = l
			p.wg.Go(func() { p.accept(l) })
			return
		}
		if time.Now().After(deadline) {
			p.t.Errorf("redistest: open the proxy's port: %v", err)
			return
		}
		time.Sleep(50 * time.Millisecond) // the port is somebody else's for a moment
	}
}

func (p *Proxy) stopListening() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
}

func (p *Proxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil { // closed by stopListening
			return
		}
		p.mu.Lock()
		target, cuts, refused := p.target, p.cuts, p.listener != l
		p.mu.Unlock()
		if refused { // Refuse came between the two
			reset(client.(*net.TCPConn))
			continue
		}
		p.wg.Go(func() { p.serve(client.(*net.TCPConn), target, cuts) })
	}
}

// serve connects a client to the target. When the target cannot be reached, or a Cut came meanwhile, the
// client's connection is reset.
func (p *Proxy) serve(client *net.TCPConn, target string, cuts int) {
	server, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		reset(client)
		return
	}
	l := &link{proxy: p, client: client, server: server.(*net.TCPConn), ended: make(chan struct{})}
	p.mu.Lock()
	if p.closed || p.cuts != cuts {
		p.mu.Unlock()
		l.reset()
		return
	}
	p.links[l] = struct{}{}
	p.mu.Unlock()
	l.run()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

func (p *Proxy) snapshot() []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}
	return links
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stopListening()
	p.Cut()
	p.wg.Wait()
}
