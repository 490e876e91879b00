package verify

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

const (
	answerLimit = 5 * time.Second // a busy neighbour is slow, and no stranger
	bodyMost    = 8 << 20
	seriesMost  = 2000
	contractual = "p28_"
)

// ourPort looks whether the address of our metrics is answered by an observer.
func (p *probe) ourPort(ctx context.Context) Check {
	lines, err := scrape(ctx, p.OurAddr)
	switch {
	case refused(err):
		return bad(Fail, "start processor run, or give its P28_HTTP_ADDR", "observer down: nothing answers at %s", p.OurAddr)
	case errors.Is(err, context.DeadlineExceeded): // whoever has the port hangs
		return bad(Fail, "see whether processor run hangs (its log, its /livez), or something else has the port", "no answer at %s within %v", p.OurAddr, answerLimit)
	case err != nil:
		return bad(Fail, "set P28_HTTP_ADDR to a free port (8043 is the apply layer's own too)", "port taken by something else: %s: %v", p.OurAddr, err)
	case !ours(lines):
		return bad(Fail, "set P28_HTTP_ADDR to a free port (8043 is the apply layer's own too)",
			"port taken by something else: %s answers, and not with our metrics", p.OurAddr)
	}
	return pass("%s is answered by an observer", p.OurAddr)
}

func (p *probe) applyPort(ctx context.Context) Check {
	lines, err := scrape(ctx, p.ApplyAddr)
	var status *statusError
	switch {
	case silent(err):
		return bad(Warn, "start the apply layer, or name its address with --apply-addr", "%s", silence(p.ApplyAddr, err))
	case errors.As(err, &status):
		return pass("%s is answered by the apply layer, as it seems: %v", p.ApplyAddr, err)
	case err != nil:
		return bad(Fail, "find what has the port, or name the apply layer's address with --apply-addr", "port taken by something else: %s: %v", p.ApplyAddr, err)
	case ours(lines):
		return pass("%s is answered by us", p.ApplyAddr)
	}
	return pass("%s is answered by the apply layer, as it seems: %d lines of metrics", p.ApplyAddr, len(lines))
}

func (p *probe) gatePort(ctx context.Context) Check {
	return neighbour(ctx, "heat gate", "--gate-addr", p.GateAddrs)
}

func (p *probe) bridgePort(ctx context.Context) Check {
	return neighbour(ctx, "heat bridge", "--bridge-addr", p.BridgeAddrs)
}

// neighbour looks whether one of some addresses is answered by HTTP, whatever it says.
func neighbour(ctx context.Context, who, flag string, addrs []string) Check {
	var answered, quiet []string
	for _, addr := range addrs {
		lines, err := scrape(ctx, addr)
		var status *statusError
		switch {
		case silent(err):
			quiet = append(quiet, silence(addr, err))
		case err != nil && !errors.As(err, &status):
			return bad(Fail, "find what has the port, or name another with "+flag, "port taken by something else than the %s: %s: %v", who, addr, err)
		case ours(lines):
			return bad(Fail, "give the observer a P28_HTTP_ADDR of its own", "port taken by something else than the %s: %s is answered by an observer", who, addr)
		default:
			answered = append(answered, addr)
		}
	}
	if len(answered) == 0 {
		return bad(Warn, "see whether the "+who+" serves metrics, or name its address with "+flag, "%s", strings.Join(quiet, ", "))
	}
	return pass("%s answered", strings.Join(answered, ", "))
}

// statusError is an answer by HTTP that is no metrics.
type statusError struct{ status string }

func (e *statusError) Error() string { return "/metrics answers " + brief(e.status) }

func refused(err error) bool {
	var dial *net.OpError
	return errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &dial) && dial.Op == "dial"
}

// silent tells nobody at all, and a neighbour that is slow or whose address drops everything, from something else.
func silent(err error) bool { return refused(err) || errors.Is(err, context.DeadlineExceeded) }

func silence(addr string, err error) string {
	if refused(err) {
		return "nothing answers at " + addr
	}
	return fmt.Sprintf("no answer at %s within %v", addr, answerLimit)
}

// scrape returns the samples of /metrics, without comments.
func scrape(ctx context.Context, addr string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "text/plain")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is ours or a neighbour
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // everything that is wanted has been read
	if response.StatusCode != http.StatusOK {
		return nil, &statusError{response.Status}
	}
	var lines []string
	scanner := bufio.NewScanner(io.LimitReader(response.Body, bodyMost))
	for scanner.Scan() {
		if line := scanner.Text(); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines, scanner.Err()
}

// ours tells an observer by a family that nothing else has.
func ours(lines []string) bool {
	for _, line := range lines {
		if strings.HasPrefix(line, "p28_observed_total{") {
			return true
		}
	}
	return false
}

// metrics looks whether the families of the contract are there with exactly their series (rule 4).
func (p *probe) metrics(ctx context.Context) Check {
	lines, err := scrape(ctx, p.OurAddr)
	if err != nil {
		return bad(Fail, "see the check of our port", "no metrics at %s: %v", p.OurAddr, err)
	}
	missing, unknown := series(), 0
	for _, line := range lines {
		name := line
		if at := strings.LastIndexByte(line, ' '); at > 0 {
			name = line[:at]
		}
		switch {
		case missing[name]:
			delete(missing, name)
		case strings.HasPrefix(name, contractual):
			unknown++
		}
	}
	switch {
	case len(missing) > 0:
		return bad(Fail, "see what serves this port: an observer has all of them from its start", "%d of the 15 series of the contract are missing", len(missing))
	case unknown > 0:
		return bad(Fail, "rule 4: no value from a message may be a label; report it", "%d series beyond the 15 of the contract", unknown)
	case len(lines) > seriesMost:
		return bad(Warn, "look which family has grown", "%d series in all", len(lines))
	}
	return pass("the 15 series of the contract, %d in all", len(lines))
}
