package tests

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDevicesCommand(t *testing.T) {
	stdout := good(t, "devices")
	assert.Contains(t, stdout, "device")
	assert.Contains(t, stdout, "cpu")
	var list []struct {
		Name            string   `json:"name"`
		Kind            string   `json:"kind"`
		Backend         string   `json:"backend"`
		Total           int64    `json:"total_bytes"`
		InstructionSets []string `json:"instruction_sets"`
		Default         bool     `json:"default"`
		ProbeMS         *float64 `json:"probe_ms"`
		Fault           *string  `json:"fault"`
	}
	require.NoError(t, json.Unmarshal([]byte(good(t, "devices", "--json")), &list))
	require.NotEmpty(t, list)
	assert.Equal(t, "cpu", list[0].Name)
	assert.Equal(t, "CPU", list[0].Backend)
	assert.Positive(t, list[0].Total)
	assert.Contains(t, list[0].InstructionSets, "ref")
	defaults := 0
	for _, d := range list {
		if d.Default {
			defaults++
		}
		assert.NotNil(t, d.ProbeMS, d.Name)
		assert.NotNil(t, d.Fault, d.Name)
	}
	assert.Equal(t, 1, defaults, "%+v", list)
	if len(list) == 1 {
		assert.Zero(t, *list[0].ProbeMS, "nothing is tried without a choice")
	}
}

func TestDeviceOptions(t *testing.T) {
	requireComplaint(t, bgevlRun(t, "", "embed", "-m", modelPath(t), "--text", "a", "--device", "Abacus0"), "Abacus0")
	requireComplaint(t, bgevlRun(t, "", "embed", "-m", modelPath(t), "--text", "a", "--gpu-layers", "-1"), "--gpu-layers -1")
	good(t, "embed", "-m", modelPath(t), "--text", "a", "--device", "cpu")
	good(t, "embed", "-m", modelPath(t), "--text", "a", "--device", "auto")
	good(t, "embed", "-m", modelPath(t), "--text", "a", "--gpu-layers", "0")
}
