package tokenizer

import "fmt"

type decoder struct{ steps []decoderJSON }

type decoderJSON struct {
	Type     string         `json:"type"`
	Decoders []*decoderJSON `json:"decoders"`
	Pattern  patternJSON    `json:"pattern"`
	Content  string         `json:"content"`
	Start    int            `json:"start"`
	Stop     int            `json:"stop"`
}

func (t *bpe) setDecoder(d *decoderJSON) error {
	if d == nil {
		return nil
	}
	if len(t.decoder.steps) >= maxSteps {
		return fmt.Errorf("more than %d steps", maxSteps)
	}
	return nil
}
