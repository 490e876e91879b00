package config

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Redis says how to reach Redis: one server, sentinels, or a cluster.
type Redis struct {
	host       string   // REDIS_HOST
	port       int      // REDIS_PORT
	db         int      // REDIS_DB
	URL        string   // REDIS_URL, a secret; Server resolves it
	username   string   // REDIS_USERNAME
	password   string   // REDIS_PASSWORD, a secret
	Sentinels  []string // REDIS_SENTINELS, host:port
	MasterName string   // REDIS_MASTER_NAME
	Cluster    []string // REDIS_CLUSTER, host:port
	tlsCA      string   // REDIS_TLS_CA, PEM
	tlsCert    string   // REDIS_TLS_CERT, PEM
	tlsKey     string   // REDIS_TLS_KEY, PEM, a secret
}

// Server is one Redis server with everything that REDIS_URL says put before the other settings.
type Server struct {
	Addr     string // host:port
	DB       int
	Username string
	Password string // a secret
	tls      bool
}

// Server resolves the settings for one server. With sentinels or a cluster, Addr is of no use and the rest
// holds for every node.
func (r Redis) Server() Server {
	server := Server{
		Addr:     net.JoinHostPort(r.host, strconv.Itoa(r.port)),
		DB:       r.db,
		Username: r.username,
		Password: r.password,
		tls:      r.tlsGiven(),
	}
	if r.URL == "" {
		return server
	}
	u, err := parseURL(r.URL)
	if err != nil {
		return server // Load has refused it
	}
	server.Addr = u.addr
	if u.hasDB {
		server.DB = u.db
	}
	if u.username != "" {
		server.Username = u.username
	}
	if u.hasPassword {
		server.Password = u.password
	}
	server.tls = u.tls
	return server
}

func (r Redis) tlsGiven() bool { return r.tlsCA != "" || r.tlsCert != "" }

// TLSConfig is what a connection with TLS needs, nil when it goes without. The name of the server is left to
// the dialer. The settings come from Load, which has checked the certificates.
func (r Redis) TLSConfig() (*tls.Config, error) {
	if !r.Server().tls {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.tlsCA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(r.tlsCA)) {
			return nil, problemf("read REDIS_TLS_CA: holds no certificate")
		}
	}
	if r.tlsCert != "" {
		pair, err := tls.X509KeyPair([]byte(r.tlsCert), []byte(r.tlsKey))
		if err != nil {
			return nil, problemf("read REDIS_TLS_CERT and REDIS_TLS_KEY: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// Where says where Redis is looked for, without secrets: for logs and messages.
func (r Redis) Where() string {
	switch {
	case len(r.Cluster) > 0:
		return "cluster " + strings.Join(r.Cluster, ",")
	case len(r.Sentinels) > 0:
		return r.MasterName + " of the sentinels " + strings.Join(r.Sentinels, ",")
	}
	server := r.Server()
	return server.Addr + "/" + strconv.Itoa(server.DB)
}

// redisURL is a REDIS_URL taken apart.
type redisURL struct {
	addr               string
	username, password string
	hasPassword        bool
	db                 int
	hasDB              bool
	tls                bool
	unused             []string // names of query parameters that have no effect here
}

// parseURL reads redis:// and rediss:// URLs as the Redis clients of Go and Python do. Its errors never hold
// a part of the URL, which has a password in it.
func parseURL(text string) (redisURL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return redisURL{}, problemf("is no URL; a password with one of / ? # @ : %% must have them %%-encoded")
	}
	var r redisURL
	switch u.Scheme {
	case "redis":
	case "rediss":
		r.tls = true
	default:
		return redisURL{}, problemf("must begin with redis:// or rediss://")
	}
	if u.Opaque != "" || u.Fragment != "" {
		return redisURL{}, problemf("must look like redis://user:password@host:port/db; a # in a password is written %%23")
	}
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "localhost"
	}
	if port == "" {
		port = "6379"
	}
	r.addr = net.JoinHostPort(host, port)
	if checkAddr(r.addr) != nil {
		return redisURL{}, problemf("has no valid host and port")
	}
	r.username = u.User.Username()
	r.password, r.hasPassword = u.User.Password()
	db := strings.Trim(u.Path, "/")
	for name, values := range u.Query() {
		if name == "db" && db == "" {
			db = values[0]
		} else {
			r.unused = append(r.unused, name)
		}
	}
	if db != "" {
		r.hasDB = true
		if r.db, err = strconv.Atoi(db); err != nil || r.db < 0 || r.db > 65535 {
			return redisURL{}, problemf("has a database that is no number, 0 to 65535")
		}
	}
	return r, nil
}

// maskURL is the URL without its password; all of it is masked when it cannot be read.
func maskURL(text string) string {
	r, err := parseURL(text)
	if err != nil {
		return mask
	}
	var b strings.Builder
	b.WriteString("redis")
	if r.tls {
		b.WriteByte('s')
	}
	b.WriteString("://")
	if r.hasPassword {
		b.WriteString(url.User(r.username).String() + ":" + mask + "@")
	} else if r.username != "" {
		// A lone name may well be a password whose colon was forgotten.
		b.WriteString(mask + "@")
	}
	b.WriteString(r.addr)
	if r.hasDB {
		b.WriteString("/" + strconv.Itoa(r.db))
	}
	return b.String()
}
