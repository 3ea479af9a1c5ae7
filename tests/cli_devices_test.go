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
	}
	require.NoError(t, json.Unmarshal([]byte(good(t, "devices", "--json")), &list))
	require.NotEmpty(t, list)
	assert.Equal(t, "cpu", list[0].Name)
	assert.Equal(t, "CPU", list[0].Backend)
	assert.Positive(t, list[0].Total)
	assert.Contains(t, list[0].InstructionSets, "ref")
}

func TestDeviceOptions(t *testing.T) {
	requireComplaint(t, bgevlRun(t, "", "embed", "-m", modelPath(t), "--text", "a", "--device", "Abacus0"), "Abacus0")
	requireComplaint(t, bgevlRun(t, "", "embed", "-m", modelPath(t), "--text", "a", "--gpu-layers", "-1"), "--gpu-layers -1")
	good(t, "embed", "-m", modelPath(t), "--text", "a", "--device", "cpu")
	good(t, "embed", "-m", modelPath(t), "--text", "a", "--gpu-layers", "0")
}
