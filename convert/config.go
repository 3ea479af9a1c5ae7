package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/bgevl/bgevl/internal/modelfile"
)

// Bounds of what a config.json may claim: those within which packages clip and llama open the file.
const (
	maxWidth    = modelfile.MaxWidth // of embeddings and projections
	maxFFN      = modelfile.MaxFFN
	maxLayers   = modelfile.MaxLayers
	maxHeads    = modelfile.MaxHeads
	maxVocab    = modelfile.MaxVocab
	maxContext  = 1 << 12                // of CLIP's text tower
	maxSide     = modelfile.MaxImageSize // pixels
	maxPatches  = modelfile.MaxPatches
	maxChannels = 3 // RGB is all that internal/pixels makes
)

// tower is the configuration of one transformer encoder.
type tower struct {
	width, ffn, layers, heads int64
	eps                       float64
	act                       string
}

// clipConfig is what converting a CLIP checkpoint needs of its config.json, with the defaults of transformers 4.45 for
// whatever is absent.
type clipConfig struct {
	projection int64

	text           tower
	vocab, context int64
	eos            int64 // as it stands: 2 means the position of the largest token id

	vision           tower
	imageSide, patch int64
}

// section reads the fields of one JSON object and keeps the first error.
type section struct {
	name   string // "" at the top, "text_config."
	fields map[string]json.RawMessage
	err    error
}

func newSection(name string, raw json.RawMessage) *section {
	s := &section{name: name}
	if name != "" && len(raw) == 0 { // absent: all defaults
		return s
	}
	if err := json.Unmarshal(raw, &s.fields); err != nil {
		s.err = fmt.Errorf("%swant a JSON object: %w", prefixed(name), err)
	}
	return s
}

// prefixed turns "text_config." into "text_config: ".
func prefixed(name string) string {
	if name == "" {
		return ""
	}
	return name[:len(name)-1] + ": "
}

func (s *section) fail(key, format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("%s%s: %s", s.name, key, fmt.Sprintf(format, args...))
	}
}

// integer returns a field that must lie in [low, high].
func (s *section) integer(key string, absent, low, high int64) int64 {
	raw, ok := s.fields[key]
	if !ok {
		return absent
	}
	var n json.Number
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		s.fail(key, "%v", err)
		return absent
	}
	n, ok = v.(json.Number)
	i, err := n.Int64()
	if !ok || err != nil {
		s.fail(key, "want a whole number from %d to %d, got %s", low, high, short(raw))
		return absent
	}
	if i < low || i > high {
		s.fail(key, "want %d to %d, got %d", low, high, i)
		return absent
	}
	return i
}

// epsilon returns a field that must lie strictly between 0 and 1.
func (s *section) epsilon(key string, absent float64) float64 {
	raw, ok := s.fields[key]
	if !ok {
		return absent
	}
	var f float64
	if err := json.Unmarshal(raw, &f); err != nil || string(raw) == "null" {
		s.fail(key, "want a number, got %s", short(raw))
		return absent
	}
	if !(f > 0 && f < 1) || float32(f) == 0 {
		s.fail(key, "want more than 0 and less than 1, got %g", f)
		return absent
	}
	return f
}

// text returns a field that must be a string.
func (s *section) text(key, absent string) string {
	raw, ok := s.fields[key]
	if !ok {
		return absent
	}
	var v *string
	if err := json.Unmarshal(raw, &v); err != nil || v == nil {
		s.fail(key, "want a string, got %s", short(raw))
		return absent
	}
	return *v
}

// object returns a field that must be an object or null, and nil if it is neither there nor of use.
func (s *section) object(key string) json.RawMessage {
	raw := s.fields[key]
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// short quotes a text from a file, cut to what an error should repeat.
func short(raw []byte) string {
	const most = 100
	if len(raw) > most {
		return fmt.Sprintf("%q... (%d bytes)", raw[:most], len(raw))
	}
	return fmt.Sprintf("%q", raw)
}

// modelType returns config.json's model_type, by which the converter chooses.
func modelType(raw []byte) (string, error) {
	s := newSection("", raw)
	t := s.text("model_type", "")
	if s.err != nil {
		return "", s.err
	}
	if t == "" {
		return "", errors.New(`model_type is missing: want "clip" or "llava_next"`)
	}
	return t, nil
}

// parseCLIPConfig reads the config.json of a CLIP checkpoint. An error names the field, what is wanted and what is there.
func parseCLIPConfig(raw []byte) (*clipConfig, error) {
	top := newSection("", raw)
	c := &clipConfig{projection: top.integer("projection_dim", 512, 1, maxWidth)}
	text := newSection("text_config.", subConfig(top, "text_config"))
	c.text = readTower(text, tower{width: 512, ffn: 2048, layers: 12, heads: 8})
	c.vocab = text.integer("vocab_size", 49408, 1, maxVocab)
	c.context = text.integer("max_position_embeddings", 77, 2, maxContext) // a start and an end at least
	c.eos = text.integer("eos_token_id", 49407, 0, maxVocab-1)
	vision := newSection("vision_config.", subConfig(top, "vision_config"))
	c.vision = readTower(vision, tower{width: 768, ffn: 3072, layers: 12, heads: 12})
	c.imageSide = vision.integer("image_size", 224, 1, maxSide)
	c.patch = vision.integer("patch_size", 32, 1, maxSide)
	vision.integer("num_channels", maxChannels, maxChannels, maxChannels)
	for _, s := range []*section{top, text, vision} {
		if s.err != nil {
			return nil, s.err
		}
	}
	return c, c.check()
}

// subConfig returns the object that configures a tower. Where a checkpoint has the older KEY_dict too, transformers lets
// that one win.
func subConfig(top *section, key string) json.RawMessage {
	if older := top.object(key + "_dict"); older != nil {
		return older
	}
	return top.object(key)
}

func readTower(s *section, absent tower) tower {
	return tower{
		width:  s.integer("hidden_size", absent.width, 1, maxWidth),
		ffn:    s.integer("intermediate_size", absent.ffn, 1, maxFFN),
		layers: s.integer("num_hidden_layers", absent.layers, 1, maxLayers),
		heads:  s.integer("num_attention_heads", absent.heads, 1, maxHeads),
		eps:    s.epsilon("layer_norm_eps", 1e-5),
		act:    s.text("hidden_act", "quick_gelu"),
	}
}

// check holds the fields against each other.
func (c *clipConfig) check() error {
	for _, t := range []struct {
		name string
		tower
	}{{"text_config", c.text}, {"vision_config", c.vision}} {
		if t.act != "quick_gelu" && t.act != "gelu" {
			return fmt.Errorf(`%s.hidden_act: want "quick_gelu" or "gelu", got %s`, t.name, short([]byte(t.act)))
		}
		if t.width%t.heads != 0 {
			return fmt.Errorf("%s: hidden_size %d cannot be split among num_attention_heads %d", t.name, t.width, t.heads)
		}
	}
	if c.text.act != c.vision.act {
		return fmt.Errorf("hidden_act: text_config has %q and vision_config %q: GGUF has one key for both", c.text.act,
			c.vision.act)
	}
	if err := checkPatches(c.imageSide, c.patch); err != nil {
		return err
	}
	if c.eos >= c.vocab {
		return fmt.Errorf("text_config.eos_token_id: want less than vocab_size %d, got %d", c.vocab, c.eos)
	}
	return nil
}

// checkPatches holds a vision tower's image_size and patch_size against each other.
func checkPatches(image, patch int64) error {
	if patch > image || image%patch != 0 {
		return fmt.Errorf("vision_config: image_size %d is not a multiple of patch_size %d", image, patch)
	}
	if n := positions(image, patch) - 1; n > maxPatches {
		return fmt.Errorf("vision_config: image_size %d and patch_size %d make %d patches: want at most %d", image, patch, n,
			maxPatches)
	}
	return nil
}

// positions returns the rows of a vision tower's position table: one a patch and one for the class token.
func positions(image, patch int64) int64 { return (image/patch)*(image/patch) + 1 }

func (c *clipConfig) positions() int64 { return positions(c.imageSide, c.patch) }
