// Package dockerfile holds the Dockerfile against the rules of `docker build --check`, which are BuildKit's own. It is a
// module of its own: BuildKit is needed to check a file, not to build the observer.
package dockerfile

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/opencontainers/go-digest"
)

// bases are base images that nobody asks a registry for: the rules are about the file.
type bases struct{}

func (bases) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return ref, digest.FromString(ref), []byte(`{"os":"linux","architecture":"amd64"}`), nil
}

// lint is what the linter says about a Dockerfile, "" when it is content.
func lint(t *testing.T, text []byte) string {
	t.Helper()
	source := llb.NewSourceMap(nil, "Dockerfile", "Dockerfile", text)
	source.Definition = &llb.Definition{} // where its text comes from: nobody asks
	results, err := dockerfile2llb.DockerfileLint(t.Context(), text, dockerfile2llb.ConvertOpt{
		MetaResolver: bases{}, SourceMap: source,
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	results.PrintErrorTo(&out, nil)
	if err := results.PrintTo(&out, nil); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestDockerfile(t *testing.T) {
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if said := lint(t, text); said != "" {
		t.Error(said)
	}
}

func TestLinterFinds(t *testing.T) {
	for name, text := range map[string]string{
		"JSONArgsRecommended":   "FROM a\nCMD run it\n",
		"UndefinedVar":          "FROM a\nCOPY $nowhere .\n",
		"StageNameCasing":       "FROM a AS Build\nFROM b\nCOPY --from=Build /x /x\n",
		"SecretsUsedInArgOrEnv": "FROM a\nENV REDIS_PASSWORD=x\n",
		"unknown instruction":   "FROM a\nEXPOZE 80\n",
	} {
		if said := lint(t, []byte(text)); !strings.Contains(said, name) {
			t.Errorf("nothing about %s: %q", name, said)
		}
	}
}
