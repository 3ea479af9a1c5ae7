package hub

import (
	"slices"
	"strings"
)

// A Model is one that is known by a short name.
type Model struct {
	Short    string // "base"
	Repo     string // "BAAI/BGE-VL-base"
	Revision string // the commit that was seen to work, or "main" where none is known
}

// Models returns the published models of the BGE-VL family.
func Models() []Model {
	return []Model{
		{"base", "BAAI/BGE-VL-base", "cc4c733ed997dbee4ac70ccffb911e70c9c24b93"},
		{"large", "BAAI/BGE-VL-large", "main"},
		{"s1", "BAAI/BGE-VL-MLLM-S1", "455ac20c111813fbb263dd0f22d47d173a971582"},
		{"s2", "BAAI/BGE-VL-MLLM-S2", "20137e245f277e7eca277bbb436ce7d632a16406"},
		{"v1.5-zs", "BAAI/BGE-VL-v1.5-zs", "a7ca46102a1a8be517e85cc1f03d1df39498e56c"},
		{"v1.5-mmeb", "BAAI/BGE-VL-v1.5-mmeb", "59f60b95765b32014df235059c4d8c60e8204be5"},
	}
}

// Resolve returns the repository and the revision that a name stands for: a short name or the repository of a known model
// at the commit that was seen to work, any other ORG/NAME at main. A revision that is given counts instead.
func Resolve(name, revision string) (repo, rev string, err error) {
	known := slices.IndexFunc(Models(), func(m Model) bool {
		return strings.EqualFold(m.Short, name) || strings.EqualFold(m.Repo, name)
	})
	repo, rev = name, "main"
	if known >= 0 {
		repo, rev = Models()[known].Repo, Models()[known].Revision
	} else if !strings.Contains(name, "/") {
		var shorts []string
		for _, m := range Models() {
			shorts = append(shorts, m.Short)
		}
		return "", "", failf(ErrName, "model %s: want one of %s, or a repository ORG/NAME", quote(name), strings.Join(shorts, ", "))
	}
	if revision != "" {
		rev = revision
	}
	if err := CheckRepo(repo); err != nil {
		return "", "", err
	}
	return repo, rev, CheckRevision(rev)
}
