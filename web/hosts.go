package web

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// OnlyHosts answers requests that were sent to this server under a name of its own. A website can have its own name resolve
// to an address of this server, loopback included, and then a browser lets its script read what is answered (DNS
// rebinding); but the name stands in the request. Addresses, localhost and no name at all cannot be had in that way.
func OnlyHosts(names []string, next http.Handler) http.Handler {
	allowed := make([]string, len(names))
	for i, name := range names {
		allowed[i] = hostName(name)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := hostOf(r.Host)
		if !harmless(name) && !slices.Contains(allowed, name) {
			w.Header().Set("X-Content-Type-Options", "nosniff")
			w.Header().Set("Cache-Control", "no-store")
			problem(w, http.StatusMisdirectedRequest, "This server does not go by the name "+clip(name, 100)+
				". Ask for it by its address or as localhost, or add the name to P28_HTTP_HOSTS.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// harmless reports whether nobody can have the name resolve to where he likes.
func harmless(name string) bool {
	if name == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") { // RFC 6761
		return true
	}
	_, err := netip.ParseAddr(name)
	return err == nil
}

// hostOf is the host in a Host header, without port and brackets.
func hostOf(header string) string {
	host, _, err := net.SplitHostPort(header)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(header, "["), "]")
	}
	return hostName(host)
}

// hostName makes names that mean the same equal.
func hostName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
