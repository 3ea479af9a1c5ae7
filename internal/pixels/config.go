package pixels

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// maxConfigSide bounds the sizes that a configuration may ask for. Vision towers read some hundreds of pixels.
const maxConfigSide = 8192

// Config says how a model wants its images. ParseConfig makes one; it is immutable and may be shared.
type Config struct {
	convertRGB bool
	resize     bool
	shortest   int // 0 where size gives both sides
	sizeW      int
	sizeH      int
	filter     Filter
	crop       bool
	cropW      int
	cropH      int
	levels     [3][256]float32 // what a sample becomes, per channel
	pinpoints  [][2]int        // height, width
	padGrid    bool
}

// rawConfig is preprocessor_config.json. Absent and null fields keep the defaults of CLIPImageProcessor.
type rawConfig struct {
	DoConvertRGB  *bool           `json:"do_convert_rgb"`
	DoResize      *bool           `json:"do_resize"`
	Size          json.RawMessage `json:"size"`
	Resample      *int            `json:"resample"`
	DoCenterCrop  *bool           `json:"do_center_crop"`
	CropSize      json.RawMessage `json:"crop_size"`
	DoRescale     *bool           `json:"do_rescale"`
	RescaleFactor *float64        `json:"rescale_factor"`
	DoNormalize   *bool           `json:"do_normalize"`
	ImageMean     json.RawMessage `json:"image_mean"`
	ImageStd      json.RawMessage `json:"image_std"`
	DoPad         *bool           `json:"do_pad"`
	GridPinpoints json.RawMessage `json:"image_grid_pinpoints"`
}

// The defaults of CLIPImageProcessor.
const defaultSide = 224

func defaultMean() []float64 { return []float64{0.48145466, 0.4578275, 0.40821073} }
func defaultStd() []float64  { return []float64{0.26862954, 0.26130258, 0.27577711} }

// ParseConfig reads a preprocessor_config.json of a CLIPImageProcessor or a LlavaNextImageProcessor. Fields that are
// absent have the defaults of transformers 4.45.2. It fails, naming the field, for a value that isn't of the field's
// type or range, and where images would come out in different sizes.
func ParseConfig(preprocessorConfigJSON []byte) (*Config, error) {
	var raw rawConfig
	if err := json.Unmarshal(preprocessorConfigJSON, &raw); err != nil {
		return nil, fmt.Errorf("pixels: preprocessor_config.json: %w", err)
	}
	c := &Config{
		convertRGB: isSet(raw.DoConvertRGB),
		resize:     isSet(raw.DoResize),
		crop:       isSet(raw.DoCenterCrop),
		padGrid:    isSet(raw.DoPad),
		filter:     Bicubic,
	}
	if raw.Resample != nil {
		c.filter = Filter(*raw.Resample)
	}
	steps := []func(*rawConfig) error{c.parseSize, c.parseCrop, c.parseLevels, c.parsePinpoints}
	for _, step := range steps {
		if err := step(&raw); err != nil {
			return nil, fmt.Errorf("pixels: preprocessor_config.json: %w", err)
		}
	}
	if !c.filter.valid() {
		return nil, fmt.Errorf("pixels: preprocessor_config.json: resample: want 0 to 5, got %d", int(c.filter))
	}
	return c, nil
}

// isSet returns a flag whose default is true.
func isSet(b *bool) bool { return b == nil || *b }

// absent reports whether a field is missing or null.
func absent(raw json.RawMessage) bool {
	return len(raw) == 0 || bytes.Equal(raw, []byte("null"))
}

// sides is the object form of size and crop_size.
type sides struct {
	ShortestEdge *int `json:"shortest_edge"`
	LongestEdge  *int `json:"longest_edge"`
	Height       *int `json:"height"`
	Width        *int `json:"width"`
}

// checkSide returns an error that names the field unless v is a side that a model may ask for.
func checkSide(name string, v int) error {
	if v < 1 || v > maxConfigSide {
		return fmt.Errorf("%s: want 1 to %d, got %d", name, maxConfigSide, v)
	}
	return nil
}

// parseSides reads a size: one number, or an object with shortest_edge, or with height and width.
func parseSides(name string, raw json.RawMessage) (shortest, h, w int, err error) {
	var n int
	if json.Unmarshal(raw, &n) == nil {
		return n, n, n, checkSide(name, n)
	}
	var pair []int
	if json.Unmarshal(raw, &pair) == nil && len(pair) == 2 {
		return 0, pair[0], pair[1], errors.Join(checkSide(name, pair[0]), checkSide(name, pair[1]))
	}
	var s sides
	if err := json.Unmarshal(raw, &s); err != nil {
		return 0, 0, 0, fmt.Errorf("%s: want a number, or an object with shortest_edge or with height and width: %w", name, err)
	}
	switch {
	case s.LongestEdge != nil:
		return 0, 0, 0, fmt.Errorf("%s: longest_edge is not supported: want shortest_edge, or height and width", name)
	case s.ShortestEdge != nil:
		return *s.ShortestEdge, 0, 0, checkSide(name+".shortest_edge", *s.ShortestEdge)
	case s.Height != nil && s.Width != nil:
		err := errors.Join(checkSide(name+".height", *s.Height), checkSide(name+".width", *s.Width))
		return 0, *s.Height, *s.Width, err
	}
	return 0, 0, 0, fmt.Errorf("%s: want shortest_edge, or height and width", name)
}

func (c *Config) parseSize(raw *rawConfig) error {
	if absent(raw.Size) {
		c.shortest = defaultSide
		return nil
	}
	shortest, h, w, err := parseSides("size", raw.Size)
	// One number stands for the shortest edge here, and for both sides of a crop.
	c.shortest, c.sizeH, c.sizeW = shortest, h, w
	return err
}

func (c *Config) parseCrop(raw *rawConfig) error {
	c.cropH, c.cropW = defaultSide, defaultSide
	if !absent(raw.CropSize) {
		shortest, h, w, err := parseSides("crop_size", raw.CropSize)
		if err != nil {
			return err
		}
		if h == 0 {
			h, w = shortest, shortest
		}
		c.cropH, c.cropW = h, w
	}
	if c.crop {
		return nil
	}
	if !c.resize || c.shortest != 0 {
		return errors.New("do_center_crop: is false and size gives no height and width: images would differ in size")
	}
	return nil
}

// parseLevels computes what each 8-bit sample becomes. The reference multiplies in float64 and rounds to float32, and
// subtracts and divides in float32.
func (c *Config) parseLevels(raw *rawConfig) error {
	mean, err := parseChannels("image_mean", raw.ImageMean, defaultMean())
	if err != nil {
		return err
	}
	std, err := parseChannels("image_std", raw.ImageStd, defaultStd())
	if err != nil {
		return err
	}
	factor := 1.0 / 255
	if raw.RescaleFactor != nil {
		factor = *raw.RescaleFactor
	}
	if !isSet(raw.DoRescale) {
		factor = 1
	}
	for ch := range c.levels {
		m, s := float32(mean[ch]), float32(std[ch])
		if isSet(raw.DoNormalize) && s <= 0 {
			return fmt.Errorf("image_std[%d]: want a number above 0, got %v", ch, std[ch])
		}
		for v := range c.levels[ch] {
			x := float32(float64(v) * factor)
			if isSet(raw.DoNormalize) {
				x = (x - m) / s
			}
			if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
				return fmt.Errorf("rescale_factor %v, image_mean[%d] %v, image_std[%d] %v: a pixel of %d gives %v: want finite values",
					factor, ch, mean[ch], ch, std[ch], v, x)
			}
			c.levels[ch][v] = x
		}
	}
	return nil
}

// parseChannels reads one number, or three.
func parseChannels(name string, raw json.RawMessage, def []float64) ([]float64, error) {
	if absent(raw) {
		return def, nil
	}
	var one float64
	if json.Unmarshal(raw, &one) == nil {
		return []float64{one, one, one}, nil
	}
	var many []float64
	if err := json.Unmarshal(raw, &many); err != nil || len(many) != 3 {
		return nil, fmt.Errorf("%s: want a number or three, got %.60s", name, raw)
	}
	return many, nil
}

// maxPinpoints bounds the list of resolutions; published models have five.
const maxPinpoints = 256

func (c *Config) parsePinpoints(raw *rawConfig) error {
	if absent(raw.GridPinpoints) {
		return nil
	}
	var points [][]int
	if err := json.Unmarshal(raw.GridPinpoints, &points); err != nil {
		return fmt.Errorf("image_grid_pinpoints: want a list of [height, width]: %w", err)
	}
	if len(points) == 0 || len(points) > maxPinpoints {
		return fmt.Errorf("image_grid_pinpoints: want 1 to %d, got %d", maxPinpoints, len(points))
	}
	for i, p := range points {
		if len(p) != 2 {
			return fmt.Errorf("image_grid_pinpoints[%d]: want [height, width], got %d numbers", i, len(p))
		}
		for _, v := range p {
			if err := checkSide(fmt.Sprintf("image_grid_pinpoints[%d]", i), v); err != nil {
				return err
			}
		}
		c.pinpoints = append(c.pinpoints, [2]int{p[0], p[1]})
	}
	return nil
}
