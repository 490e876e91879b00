package config

import (
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"heatobserver/entry"
)

const maxName = 512 // bytes of the name of a stream, a group, a consumer or a key

// checkName accepts what can stand unquoted in redis-cli, in a log and in a URL's path.
func checkName(text string) error {
	switch {
	case len(text) > maxName:
		return problemf("is longer than %d bytes", maxName)
	case !utf8.ValidString(text):
		return problemf("is not UTF-8")
	case strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return problemf("has spaces or control characters; allowed: %s", formName)
	}
	return nil
}

func checkStart(text string) error {
	if text == startAuto || text == "$" || text == "0" {
		return nil
	}
	if _, err := entry.ParseID(text); err != nil {
		return problemf("is no starting point; allowed: auto, 0, $ or an entry ID such as 1700000000000-0")
	}
	return nil
}

func checkPartitions(text string) error {
	streams, err := expandPartitions(text)
	if err != nil {
		return err
	}
	if len(streams) > maxPartitions {
		return problemf("has %d names; allowed: 1 to %d", len(streams), maxPartitions)
	}
	seen := make(map[string]bool)
	tags := make(map[string]bool)
	for _, name := range streams {
		if err := checkName(name); err != nil {
			return err
		}
		tag := HashTag(name)
		switch {
		case seen[name]:
			return problemf("names %s twice", name)
		case tag == "":
			return problemf("has a name without a hash tag in braces, %s, which nothing of ours could share a slot with", name)
		case tags[tag]:
			return problemf("uses the hash tag {%s} twice; each partition needs its own", tag)
		}
		seen[name], tags[tag] = true, true
	}
	return nil
}

// HashTag is the part of a key that decides its slot in a Redis Cluster: what stands between the first { and
// the first } after it. "" means that there is none and that the whole key decides.
func HashTag(key string) string {
	_, rest, found := strings.Cut(key, "{")
	tag, _, closed := strings.Cut(rest, "}")
	if !found || !closed {
		return ""
	}
	return tag
}

// checkHost accepts IP addresses and names of ASCII letters, digits, dots, hyphens and underscores.
func checkHost(text string) error {
	if _, err := netip.ParseAddr(text); err == nil {
		return nil
	}
	switch {
	case strings.ContainsAny(text, "/@"):
		return problemf("is no host name or address; a URL belongs into REDIS_URL")
	case strings.Contains(text, ":"):
		return problemf("is no host name or address; the port belongs into REDIS_PORT")
	case text == "" || strings.ContainsFunc(text, func(r rune) bool { return r != '.' && r != '-' && !isName("_"+string(r)) }):
		return problemf("is no host name or address")
	}
	return nil
}

// checkHosts is for an element of P28_HTTP_HOSTS.
func checkHosts(text string) error {
	if checkHost(text) != nil {
		return problemf("has an element that is no host name; allowed: %s", formHosts)
	}
	return nil
}

func checkAddr(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil || checkHost(host) != nil || !isPort(port, 1) {
		return problemf("has an element that is no host:port; allowed: %s", formAddrs)
	}
	return nil
}

func checkListen(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host != "" && checkHost(host) != nil || !isPort(port, 0) {
		return problemf("is no host:port; write 127.0.0.1:8043, or :8043 for every address")
	}
	return nil
}

func isPort(text string, least int) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= least && n <= 65535
}

func checkURL(text string) error {
	_, err := parseURL(text)
	return err
}

func checkPEM(text string) error {
	if block, _ := pem.Decode([]byte(text)); block == nil {
		return problemf("holds no PEM text; the path of a file goes into the variable that ends with _FILE")
	}
	return nil
}

func checkCA(text string) error {
	if err := checkPEM(text); err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(text)) {
		return problemf("holds no certificate that can be read")
	}
	return nil
}
