package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What is measured.
var batches = []int{1, 8}

const (
	decoderLayers   = 2    // of the cut that stands for a decoder of mllmLayers
	mllmLayers      = 32   // of BGE-VL-MLLM
	tokensOfPicture = 2929 // of one input with a picture
	tilesOfPicture  = 5
	sampleSeconds   = 0.5
)

// subjectSpec is a program to be measured in a group.
type subjectSpec struct {
	name  string
	ours  bool
	argv  []string
	limit string   // the limit that its products run into: f32, bf16, int8
	cases []string // nil: all of the group
	file  string   // the model's file, for the table of memory
}

// kase is one thing that a group's subjects do.
type kase struct {
	name string
	what string  // for a reader
	unit string  // an item
	flop float64 // operations that an item's result needs; 0: not counted
}

// group is what is measured with the same programs running.
type group struct {
	name     string
	title    string
	note     string // for a reader, below the title
	cases    []kase
	subjects []subjectSpec
	threads  int // beside which the limit is measured
	rounds   int
	profile  bool // ask this project's side for Go's share of the time
}

// tower is the geometry of a transformer encoder, as far as its work depends on it.
type tower struct{ layers, width, ffn float64 }

// full is the work of a layer on n tokens, all of them asked for.
func (t tower) full(n float64) float64 {
	return 2*n*(4*t.width*t.width+2*t.width*t.ffn) + 4*n*n*t.width
}

// pooled is the work of all layers where the last one is asked for one token: its keys and values of all others.
func (t tower) pooled(n float64) float64 {
	last := 2*2*n*t.width*t.width + 2*(2*t.width*t.width+2*t.width*t.ffn) + 4*n*t.width
	return (t.layers-1)*t.full(n) + last
}

// clipModel is one of the two CLIP models.
type clipModel struct {
	name                string
	text, vision        tower
	patch, side, output float64
}

var clipModels = []clipModel{
	{"clip-base", tower{12, 512, 2048}, tower{12, 768, 3072}, 16, 224, 512},
	{"clip-large", tower{12, 768, 3072}, tower{24, 1024, 4096}, 14, 224, 768},
}

func (m clipModel) patches() float64 { return (m.side / m.patch) * (m.side / m.patch) }

func (m clipModel) work(side string) float64 {
	if side == "text" {
		return m.text.pooled(tokensOfText) + 2*m.text.width*m.output
	}
	patches := 2 * m.patches() * 3 * m.patch * m.patch * m.vision.width
	return patches + m.vision.pooled(m.patches()+1) + 2*m.vision.width*m.output
}

// prefillWork is the work of the decoder's cut on a picture's tokens, attention being causal.
func prefillWork() float64 {
	const n, width, kv, ffn = tokensOfPicture, 4096.0, 1024.0, 14336.0
	return decoderLayers * (2*n*(width*(2*width+2*kv)+3*width*ffn) + 2*n*n*width)
}

// visionWork is the work of a picture's tiles: 23 of 24 layers, 336 pixels a side in patches of 14, and the projector.
func visionWork() float64 {
	t := tower{23, 1024, 4096}
	const n = 24 * 24
	projector := 2 * n * (1024*4096 + 4096*4096.0)
	return tilesOfPicture * (2*n*3*14*14*1024 + t.layers*t.full(n+1) + projector)
}

// planner makes groups of what the options ask for and the machine has.
type planner struct {
	self, python, peersDir, dir string
	types, peers                []string
	how                         map[string]string // limits that the processor has
	threads, rounds             int
	onlyOurs                    bool
	left                        []string // peers left out, and why
}

// wants reports whether a peer is asked for: by a word that it begins with, as torch for torch-bf16.
func (p *planner) wants(peer string) bool {
	return slices.ContainsFunc(p.peers, func(word string) bool { return peer == word || strings.HasPrefix(peer, word+"-") })
}

// names reports whether a peer is asked for by its whole name.
func (p *planner) names(peer string) bool { return slices.Contains(p.peers, peer) }

// peer is a program to compare with, and what limits it.
type peer struct{ name, limit string }

// choose returns those of a list that are wanted. Peers that multiply bf16 are left out where the processor does not,
// unless they are named: they emulate it, and to be faster than that says nothing.
func (p *planner) choose(all []peer) (chosen []peer) {
	for _, q := range all {
		if !p.wants(q.name) {
			continue
		}
		if q.limit == "bf16" && p.how["bf16"] == "" && !p.names(q.name) {
			why := q.name + ": this processor multiplies no bf16 (PEERS=" + q.name + " measures it all the same)"
			if !slices.Contains(p.left, why) {
				p.left = append(p.left, why)
			}
			continue
		}
		chosen = append(chosen, q)
	}
	return chosen
}

func limitOf(typ string) string {
	switch typ {
	case "f32":
		return "f32"
	case "f16", "bf16":
		return "bf16"
	}
	return "int8"
}

func (p *planner) gguf(model, typ string) string {
	return filepath.Join(p.dir, model+"-"+typ+".gguf")
}

// ours returns this project as a subject.
func (p *planner) ours(typ, mode, model string, threads int, more ...string) subjectSpec {
	path := p.gguf(model, typ)
	argv := append([]string{p.self, "-serve", mode, "-model", path, "-threads", strconv.Itoa(threads)}, more...)
	return subjectSpec{name: "bgevl " + typ, ours: true, limit: limitOf(typ), file: path, argv: argv}
}

func (p *planner) clip(m clipModel, side string) group {
	g := group{name: m.name + "-" + side, threads: p.threads, rounds: p.rounds}
	if m.name == "clip-large" && side == "image" {
		g.rounds = min(p.rounds, heavyRounds+1)
	}
	g.title = map[string]string{"image": "CLIP image tower, ", "text": "CLIP text tower, 16 tokens, "}[side] + strings.TrimPrefix(m.name, "clip-")
	unit := map[string]string{"image": "image", "text": "text"}[side]
	for _, n := range batches {
		g.cases = append(g.cases, kase{strconv.Itoa(n), fmt.Sprintf("batch %d", n), unit, m.work(side)})
	}
	probe := probePath(p.dir, m.name, side)
	for _, typ := range p.types {
		g.subjects = append(g.subjects, p.ours(typ, side, m.name, p.threads, "-probes", probe))
	}
	if p.onlyOurs {
		return g
	}
	script, cache := filepath.Join(p.peersDir, "clip.py"), filepath.Join(p.dir, "cache", m.name)
	for _, q := range p.choose([]peer{{"torch", "f32"}, {"torch-bf16", "bf16"}, {"torch-compile", "bf16"}, {"ort", "f32"},
		{"ort-int8", "int8"}, {"ov", "f32"}, {"ov-bf16", "bf16"}, {"ov-int8", "int8"}}) {
		g.subjects = append(g.subjects, subjectSpec{name: q.name, limit: q.limit, argv: []string{p.python, script, q.name,
			side, filepath.Join(p.dir, m.name), cache, strconv.Itoa(p.threads), probe}})
	}
	t, tokens := m.text, float64(tokensOfText)
	if side == "image" {
		t, tokens = m.vision, m.patches()+1
	}
	products := map[string]any{}
	for _, n := range batches {
		rows := int(tokens) * n
		products[strconv.Itoa(n)] = []any{float64(n) / t.layers,
			[][4]int{{int(t.width), int(t.width), rows, 4}, {int(t.width), int(t.ffn), rows, 1}, {int(t.ffn), int(t.width), rows, 1}}}
	}
	g.subjects = append(g.subjects, p.products(products, "f16", "q8_0")...)
	return g
}

// products returns ggml's own products as subjects, a type each.
func (p *planner) products(cases map[string]any, types ...string) (all []subjectSpec) {
	if p.onlyOurs || !p.wants("ggml") {
		return nil
	}
	text, _ := json.Marshal(cases) // numbers
	for _, typ := range types {
		all = append(all, subjectSpec{name: "ggml products " + typ, limit: limitOf(typ),
			argv: []string{p.python, filepath.Join(p.peersDir, "ggml.py"), typ, strconv.Itoa(p.threads), string(text)}})
	}
	return all
}

// heavyRounds bounds the rounds of groups whose samples take many seconds each, up to a minute with llama.cpp.
const heavyRounds = 2

func (p *planner) decoder() group {
	g := group{name: "decoder", threads: p.threads, rounds: min(p.rounds, heavyRounds),
		title: fmt.Sprintf("Decoder of Mistral 7B's width, %d layers, a prefill of %d tokens", decoderLayers, tokensOfPicture),
		note: "The states of all positions are asked for, so that no layer is cut short. \"ggml products\" are the matrix products of the " +
			"same layers alone, in the ggml of llama.cpp.",
		cases: []kase{{"prefill", "prefill", "token", prefillWork() / tokensOfPicture}}}
	tokens := strconv.Itoa(tokensOfPicture)
	for _, typ := range p.types {
		g.subjects = append(g.subjects, p.ours(typ, "prefill", "decoder", p.threads, "-tokens", tokens))
	}
	if p.onlyOurs {
		return g
	}
	for _, q := range p.choose([]peer{{"torch", "f32"}, {"torch-bf16", "bf16"}, {"ov", "f32"}, {"ov-bf16", "bf16"},
		{"ov-int8", "int8"}, {"ov-int4", "int8"}}) {
		g.subjects = append(g.subjects, subjectSpec{name: q.name, limit: q.limit, argv: []string{p.python,
			filepath.Join(p.peersDir, "decoder.py"), q.name, strconv.Itoa(decoderLayers), tokens, filepath.Join(p.dir, "cache"),
			strconv.Itoa(p.threads)}})
	}
	if p.wants("llamacpp") {
		for _, typ := range p.types {
			g.subjects = append(g.subjects, subjectSpec{name: "llamacpp " + typ, limit: limitOf(typ), argv: []string{p.python,
				filepath.Join(p.peersDir, "llamacpp.py"), p.gguf("decoder", typ), tokens, strconv.Itoa(p.threads)}})
		}
	}
	const rows = tokensOfPicture
	g.subjects = append(g.subjects, p.products(map[string]any{"prefill": []any{rows / float64(decoderLayers), [][4]int{
		{4096, 4096, rows, 2}, {4096, 1024, rows, 2}, {4096, 14336, rows, 2}, {14336, 4096, rows, 1}}}},
		"f16", "q8_0", "q4_0", "q4_k", "q6_k")...)
	return g
}

func (p *planner) vision() group {
	g := group{name: "vision", threads: p.threads, rounds: min(p.rounds, heavyRounds+1),
		title: "MLLM: vision tower and projector on one picture of five tiles",
		note:  "\"preprocess\" is resizing and cutting into tiles of a decoded picture, on one thread.",
		cases: []kase{{"picture", "tower and projector", "picture", visionWork()}, {"preprocess", "preprocess", "picture", 0}}}
	typ := "f16" // what the projector's file is for every type of the decoder
	s := p.ours(typ, "vision", "decoder", p.threads)
	s.file = filepath.Join(p.dir, "mmproj-decoder-f16.gguf")
	g.subjects = append(g.subjects, s)
	const rows = 577
	ggml := p.products(map[string]any{"picture": []any{1.0 / 23 / tilesOfPicture, [][4]int{{1024, 1024, rows, 4}, {1024, 4096, rows, 1},
		{4096, 1024, rows, 1}}}}, "f16")
	for i := range ggml {
		ggml[i].cases = []string{"picture"}
	}
	g.subjects = append(g.subjects, ggml...)
	return g
}

func (p *planner) files() group {
	g := group{name: "jpeg", threads: p.threads, rounds: p.rounds, profile: true,
		title: "From JPEG files of 640x480 pixels, CLIP base",
		note: "\"files\" reads, decodes, resizes and embeds; \"model\" embeds as many pictures that are pixels already, 8 at a time; \"decode\" " +
			"is all but embedding, on one thread.",
		cases: []kase{{"files", "files", "image", 0}, {"model", "model", "image", 0}, {"decode", "decode", "image", 0}}}
	for _, typ := range p.types {
		g.subjects = append(g.subjects, p.ours(typ, "files", "clip-base", p.threads, "-pictures", filepath.Join(p.dir, "pictures")))
	}
	return g
}

func (p *planner) scaling() group {
	m := clipModels[0]
	g := group{name: "threads", threads: p.threads, rounds: p.rounds,
		title: fmt.Sprintf("CLIP image tower, base: 1 thread and %d", p.threads),
		note:  "The limit beside each is that of as many threads.",
		cases: []kase{{"1", "batch 1", "image", m.work("image")}, {"8", "batch 8", "image", m.work("image")}}}
	for _, typ := range p.types {
		for _, n := range []int{1, p.threads} {
			s := p.ours(typ, "image", m.name, n, "-probes", probePath(p.dir, m.name, "image"))
			s.name = fmt.Sprintf("%s, %d thread", s.name, n)
			if n > 1 {
				s.name += "s"
			}
			g.subjects = append(g.subjects, s)
		}
	}
	return g
}

// groups returns all groups whose name begins with one of the words.
func (p *planner) groups(words []string) (chosen []group) {
	var all []group
	for _, m := range clipModels {
		all = append(all, p.clip(m, "image"), p.clip(m, "text"))
	}
	all = append(all, p.decoder(), p.vision(), p.files())
	if p.threads > 1 {
		all = append(all, p.scaling())
	}
	for _, g := range all {
		if slices.ContainsFunc(words, func(w string) bool { return w == "all" || strings.HasPrefix(g.name, w) }) {
			chosen = append(chosen, g)
		}
	}
	return chosen
}
