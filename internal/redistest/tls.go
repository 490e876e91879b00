package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// WithTLS has the server speak TLS only, with a certificate for 127.0.0.1 and localhost from an authority of its own, and
// ask every client for a certificate from the same authority. Client and NewClient have one; for others it is in
// TLSFiles.
func WithTLS() Option {
	return func(s *settings) { s.tls = &tlsFiles{} }
}

// tlsFiles are the certificates of a server and its clients, and where they lie.
type tlsFiles struct {
	ca, serverCert, serverKey, clientCert, clientKey string

	pool   *x509.CertPool
	client tls.Certificate
}

// TLSFiles are the paths of the authority's certificate and of a client's certificate and key, all PEM, for a server
// started WithTLS.
func (s *Server) TLSFiles() (ca, cert, key string) {
	return s.set.tls.ca, s.set.tls.clientCert, s.set.tls.clientKey
}

// config is what a client needs, nil without TLS.
func (f *tlsFiles) config() *tls.Config {
	if f == nil {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: f.pool, ServerName: "127.0.0.1", Certificates: []tls.Certificate{f.client},
	}
}

// lines are those of redis.conf.
func (f *tlsFiles) lines(port int) []string {
	return []string{
		"port 0",
		fmt.Sprintf("tls-port %d", port),
		fmt.Sprintf("tls-ca-cert-file %q", f.ca),
		fmt.Sprintf("tls-cert-file %q", f.serverCert),
		fmt.Sprintf("tls-key-file %q", f.serverKey),
		"tls-auth-clients yes",
		"tls-replication yes",
	}
}

// write makes new certificates and puts them into dir.
func (f *tlsFiles) write(dir string) error {
	authority, err := issue(nil, &x509.Certificate{
		Subject: pkix.Name{CommonName: "redistest authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	if err != nil {
		return err
	}
	server, err := issue(authority, &x509.Certificate{
		Subject: pkix.Name{CommonName: "redistest server"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err
	}
	client, err := issue(authority, &x509.Certificate{
		Subject:  pkix.Name{CommonName: "redistest client"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err
	}
	f.pool = x509.NewCertPool()
	f.pool.AddCert(authority.cert)
	f.client = tls.Certificate{Certificate: [][]byte{client.cert.Raw}, PrivateKey: client.key}
	for _, file := range []struct {
		path *string
		name string
		pem  func() ([]byte, error)
	}{
		{&f.ca, "ca.crt", authority.certPEM},
		{&f.serverCert, "server.crt", server.certPEM},
		{&f.serverKey, "server.key", server.keyPEM},
		{&f.clientCert, "client.crt", client.certPEM},
		{&f.clientKey, "client.key", client.keyPEM},
	} {
		text, err := file.pem()
		if err != nil {
			return err
		}
		*file.path = filepath.Join(dir, file.name)
		if err := os.WriteFile(*file.path, text, 0o600); err != nil {
			return fmt.Errorf("write a certificate: %w", err)
		}
	}
	return nil
}

// issued is a certificate with its key.
type issued struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue signs a certificate of a new key, by its own key without an issuer.
func issue(by *issued, template *x509.Certificate) (*issued, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(24 * time.Hour)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read a certificate: %w", err)
	}
	return &issued{cert: cert, key: key}, nil
}

func (i *issued) certPEM() ([]byte, error) {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw}), nil
}

func (i *issued) keyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
