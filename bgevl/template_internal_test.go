package bgevl

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPrompt spells out every kind of prompt, as the published code writes it.
func TestPrompt(t *testing.T) {
	for _, c := range []struct {
		role              Role
		instruction, text *string
		image             bool
		want              string
	}{
		{RoleQuery, nil, nil, true, "[INST] \n <instruct>  <query> <image> [/INST]"},
		{RoleQuery, nil, new("a dog"), false, "[INST] \n <instruct>  <query> a dog \n [/INST]"},
		{RoleQuery, nil, new("a dog"), true, "[INST] \n <instruct>  <query> a dog \n <image> [/INST]"},
		{RoleQuery, new(""), nil, true, "[INST] \n <instruct>  <query>  <image> [/INST]"},
		{RoleQuery, new(""), new("a dog"), false, "[INST] \n <instruct>  <query>  a dog \n [/INST]"},
		{RoleQuery, new("Find it: "), new("a dog"), true, "[INST] \n <instruct> Find it:  <query>  a dog \n <image> [/INST]"},
		{RoleQuery, new("Find it."), new(""), false, "[INST] \n <instruct> Find it. <query>   \n [/INST]"},
		{RoleCandidate, nil, nil, true, "[INST]  <image> [/INST]"},
		{RoleCandidate, nil, new("a dog"), false, "[INST]  a dog \n [/INST]"},
		{RoleCandidate, nil, new(" a dog "), true, "[INST]   a dog  \n <image> [/INST]"},
		{RoleCandidate, nil, new(""), false, "[INST]   \n [/INST]"},
	} {
		assert.Equal(t, c.want, prompt(c.role, c.instruction, c.text, c.image))
	}
}

func TestTemplate(t *testing.T) {
	require.NoError(t, checkTemplate(templateBGE))
	assert.ErrorContains(t, checkTemplate("qwen"), `bgevl.template: "qwen"`)
	assert.Equal(t, templateDigest(), templateDigest())
	assert.Regexp(t, `^bge-vl-mllm:[0-9a-f]{64}$`, templateDigest())
}
