package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestServer(t *testing.T) {
	for _, tc := range []struct {
		name    string
		environ []string
		want    Server
	}{
		{"defaults", nil, Server{Addr: "localhost:6379"}},
		{"parts", []string{"REDIS_HOST=redis", "REDIS_PORT=7000", "REDIS_DB=3", "REDIS_USERNAME=u", "REDIS_PASSWORD=p"},
			Server{Addr: "redis:7000", DB: 3, Username: "u", Password: "p"}},
		{"IPv6", []string{"REDIS_HOST=::1"}, Server{Addr: "[::1]:6379"}},
		{"URL wins", []string{"REDIS_HOST=redis", "REDIS_PORT=7000", "REDIS_DB=3", "REDIS_URL=redis://u:p%40ss@other:7001/4"},
			Server{Addr: "other:7001", DB: 4, Username: "u", Password: "p@ss"}},
		{"URL leaves what it does not say", []string{"REDIS_DB=3", "REDIS_USERNAME=u", "REDIS_PASSWORD=p", "REDIS_URL=redis://other"},
			Server{Addr: "other:6379", DB: 3, Username: "u", Password: "p"}},
		{"URL with a password alone", []string{"REDIS_URL=redis://:p@other"}, Server{Addr: "other:6379", Password: "p"}},
		{"URL with TLS", []string{"REDIS_URL=rediss://other:7002"}, Server{Addr: "other:7002", tls: true}},
		{"URL with db as parameter", []string{"REDIS_URL=redis://other?db=5"}, Server{Addr: "other:6379", DB: 5}},
		{"URL without host", []string{"REDIS_URL=redis://"}, Server{Addr: "localhost:6379"}},
		{"URL of an IPv6 host", []string{"REDIS_URL=redis://[::1]:7003/0"}, Server{Addr: "[::1]:7003"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg, _ := load(t, Sources{Environ: environ(tc.environ...)})
			if got := cfg.Redis.Server(); got != tc.want {
				t.Errorf("server %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestURLsRefused(t *testing.T) {
	for _, text := range []string{
		"localhost:6379", "redis:localhost", "unix:///run/redis.sock", "http://a", "redis://a:b", "redis://a:0", "redis://a:70000",
		"redis://a/x", "redis://a/-1", "redis://a/70000", "redis://u:p#w@a", "redis://a b", "redis://a/1/2", "redis://::",
	} {
		if _, _, err := Load(Sources{Environ: environ("REDIS_URL=" + text)}); err == nil || !strings.Contains(err.Error(), "REDIS_URL") {
			t.Errorf("%s: error %v", text, err)
		}
	}
}

func TestWhere(t *testing.T) {
	for want, environment := range map[string][]string{
		"localhost:6379/0":                 nil,
		"host:1/2":                         {"REDIS_URL=redis://u:p@host:1/2"},
		"cluster a:1,b:2":                  {"REDIS_CLUSTER=a:1, b:2"},
		"quantum of the sentinels a:1,b:2": {"REDIS_SENTINELS=a:1,b:2", "REDIS_MASTER_NAME=quantum"},
	} {
		cfg, _ := load(t, Sources{Environ: environ(environment...)})
		if got := cfg.Redis.Where(); got != want {
			t.Errorf("%v is %q, want %q", environment, got, want)
		}
	}
}

// selfSigned makes a certificate and its key, as PEM.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
}

func TestTLS(t *testing.T) {
	cert, key := selfSigned(t)
	_, otherKey := selfSigned(t)
	for _, tc := range []struct {
		name    string
		environ []string
		wantErr string
		ca      bool
		client  bool
		none    bool
	}{
		{name: "off", none: true},
		{name: "authority", environ: []string{"REDIS_TLS_CA=" + cert}, ca: true},
		{name: "authority in a file", environ: []string{"REDIS_TLS_CA_FILE=" + writeFile(t, cert)}, ca: true},
		{name: "client", environ: []string{"REDIS_TLS_CERT=" + cert, "REDIS_TLS_KEY=" + key}, client: true},
		{name: "URL alone", environ: []string{"REDIS_URL=rediss://a"}},
		{name: "certificate alone", environ: []string{"REDIS_TLS_CERT=" + cert}, wantErr: "needs REDIS_TLS_KEY"},
		{name: "key alone", environ: []string{"REDIS_TLS_KEY=" + key}, wantErr: "needs REDIS_TLS_CERT"},
		{name: "another's key", environ: []string{"REDIS_TLS_CERT=" + cert, "REDIS_TLS_KEY=" + otherKey}, wantErr: "does not go with REDIS_TLS_KEY"},
		{name: "key for an authority", environ: []string{"REDIS_TLS_CA=" + key}, wantErr: "holds no certificate"},
		{name: "URL without TLS", environ: []string{"REDIS_URL=redis://a", "REDIS_TLS_CA=" + cert}, wantErr: "write rediss://"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg, report, err := Load(Sources{Environ: environ(tc.environ...)})
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("error %v, want %s", err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			config, err := cfg.Redis.TLSConfig()
			if err != nil {
				t.Fatal(err)
			}
			if tc.none != (config == nil) {
				t.Fatalf("TLS %v", config != nil)
			}
			if config != nil && ((config.RootCAs != nil) != tc.ca || (len(config.Certificates) == 1) != tc.client) {
				t.Errorf("own authority %v, client certificates %d", config.RootCAs != nil, len(config.Certificates))
			}
			if shown := everything(report, err); strings.Contains(shown, "BEGIN") {
				t.Errorf("PEM is shown:\n%s", shown)
			}
		})
	}
}

// FuzzRedisURL checks that a URL which is shown leads to the same place as the one that was given.
func FuzzRedisURL(f *testing.F) {
	for _, seed := range []string{"", "redis://u:p@h:1/2", "rediss://:p@[::1]?db=3", "redis://u@h", "redis://%zz", "redis://h/1?x=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		given, err := parseURL(text)
		shown := maskURL(text)
		if err != nil {
			if shown != mask {
				t.Errorf("%q is refused, and yet shown as %q", text, shown)
			}
			return
		}
		again, err := parseURL(shown)
		if err != nil || again.addr != given.addr || again.db != given.db || again.tls != given.tls || again.hasPassword != given.hasPassword {
			t.Errorf("%q is shown as %q: %+v became %+v, %v", text, shown, given, again, err)
		}
		if given.hasPassword && again.password != mask {
			t.Errorf("%q is shown as %q", text, shown)
		}
	})
}

// FuzzPartitions checks that P28_PLAN_STREAMS never yields names that share a hash tag.
func FuzzPartitions(f *testing.F) {
	for _, seed := range []string{"", "p:{k}*3", "a:{0},b:{1}", "{k}{k}*2", "{k}*999999999999999999999", "a:{0}*{k}", "{k},*1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if checkPartitions(text) != nil {
			return
		}
		streams, err := expandPartitions(text)
		if err != nil || len(streams) > maxPartitions {
			t.Errorf("%q: %d streams, %v", text, len(streams), err)
		}
		tags := make(map[string]bool)
		for _, name := range streams {
			if tag := HashTag(name); tag == "" || tags[tag] {
				t.Errorf("%q: tag %q of %q", text, tag, name)
			} else {
				tags[tag] = true
			}
		}
	})
}
