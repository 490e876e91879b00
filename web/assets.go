package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed assets
var embedded embed.FS

//go:embed openapi.yaml
var openAPI []byte

// asset is one file of the page.
type asset struct {
	body []byte
	kind string
	etag string
}

// assets are the files of the page by their path below assets/.
type assets map[string]asset

// kinds are the media types of what a page is made of; the system's table is not asked.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".mjs": "text/javascript; charset=utf-8", ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png",
	".ico": "image/x-icon", ".woff2": "font/woff2", ".txt": "text/plain; charset=utf-8", ".md": "text/plain; charset=utf-8",
	".webmanifest": "application/manifest+json", ".yaml": "application/yaml",
}

func loadAssets() (assets, error) {
	all := assets{}
	err := fs.WalkDir(embedded, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := embedded.ReadFile(name)
		if err != nil {
			return err
		}
		all[name] = newAsset(name, body)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load the page: %w", err)
	}
	if _, ok := all["assets/index.html"]; !ok {
		return nil, fmt.Errorf("load the page: assets/index.html: %w", fs.ErrNotExist)
	}
	return all, nil
}

func newAsset(name string, body []byte) asset {
	sum := sha256.Sum256(body)
	kind := kinds[path.Ext(name)]
	if kind == "" {
		kind = "application/octet-stream"
	}
	return asset{body: body, kind: kind, etag: `"` + hex.EncodeToString(sum[:12]) + `"`}
}

// serve hands the file out. It is asked for again each time, and not sent when it is still the same.
func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", a.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}

func (p *Page) asset(w http.ResponseWriter, r *http.Request) {
	name := "assets/" + r.PathValue("name")
	if r.URL.Path == "/" {
		name = "assets/index.html"
	}
	a, ok := p.assets[name]
	if !ok {
		problem(w, http.StatusNotFound, "There is nothing here.")
		return
	}
	a.serve(w, r)
}
