package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"heatobserver/config"
)

// healthcheckCommand asks a running processor how it is.
type healthcheckCommand struct {
	*settings
	Ready   bool          `help:"Ask whether it is ready (Redis answers, the groups exist, it does not drain) and not only whether it lives."`
	Timeout time.Duration `default:"5s" help:"How long the answer may take."`
}

// Help is the end of `processor healthcheck --help`.
func (healthcheckCommand) Help() string {
	return `Asks /livez, or with --ready /readyz, at P28_HTTP_ADDR: for containers that have no shell and no curl.

Examples:
  processor healthcheck
  processor healthcheck --ready --http-addr 127.0.0.1:8044

Ends with 0 when all is well, 1 when the processor says what is wrong, 2 when it does not answer.`
}

// Run asks.
func (c *healthcheckCommand) Run(ctx context.Context, sys *system) error {
	cfg, _, err := c.start(ctx, usualPrefix(sys)) // no heat is looked up here
	if err != nil {
		return err
	}
	path := "/livez"
	if c.Ready {
		path = "/readyz"
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	wrong, err := askHealth(ctx, "http://"+reachable(cfg.HTTP.Addr)+path)
	switch {
	case err != nil:
		return withCode(config.ExitNotCarriedOut, fmt.Errorf("ask the processor: %w", err))
	case wrong != "":
		return withCode(config.ExitFailed, errors.New(wrong))
	}
	fmt.Fprintln(sys.stdout, "ok")
	return nil
}

// reachable turns an address to listen on into one to connect to: an unspecified host is this one.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// askHealth returns what is wrong, or "".
func askHealth(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is this machine
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }() // everything that is wanted has been read
	var answer struct {
		OK    bool
		Wrong []string
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&answer); err != nil {
		return "", fmt.Errorf("%s answers %s and not as the processor does: %w", url, response.Status, err)
	}
	if response.StatusCode == http.StatusOK && answer.OK {
		return "", nil
	}
	if len(answer.Wrong) == 0 {
		return response.Status, nil
	}
	return strings.Join(answer.Wrong, "; "), nil
}
