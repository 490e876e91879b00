package deploy

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"heatobserver/config"
	"heatobserver/pipeline"
)

// TestComposeFitsTheProgram: the settings of the processor are settings, and Docker waits for its drain.
func TestComposeFitsTheProgram(t *testing.T) {
	content, err := os.ReadFile("../docker-compose.yml")
	require.NoError(t, err)
	var file struct {
		Services map[string]struct {
			Environment map[string]string `yaml:"environment"`
			Grace       time.Duration     `yaml:"stop_grace_period"`
		} `yaml:"services"`
	}
	require.NoError(t, yaml.Unmarshal(content, &file))
	for name, service := range file.Services {
		if service.Environment["P28_HEAT_LOOKUP_PREFIX"] == "" {
			continue
		}
		require.Equal(t, pipeline.LookupPrefix, service.Environment["P28_HEAT_LOOKUP_PREFIX"], name)
		cfg, report, err := config.Load(config.Sources{Flags: service.Environment, Hostname: "h"})
		require.NoError(t, err, name)
		require.Empty(t, report.Warnings, name)
		if name == "processor" {
			require.Greater(t, service.Grace, cfg.DrainTimeout+cfg.Read.Block+5*time.Second)
		}
	}
	require.Contains(t, file.Services["processor"].Environment, "P28_DRAIN_TIMEOUT_SEC")
}
