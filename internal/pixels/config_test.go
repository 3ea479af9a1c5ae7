package pixels_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/pixels"
)

func TestParseConfigNamesTheField(t *testing.T) {
	for config, want := range map[string]string{
		``:                                      "preprocessor_config.json",
		`[]`:                                    "preprocessor_config.json",
		`{"size":0}`:                            "size: want 1 to 8192, got 0",
		`{"size":-224}`:                         "size: want 1 to 8192, got -224",
		`{"size":1e9}`:                          "size",
		`{"size":2.5}`:                          "size",
		`{"size":{"shortest_edge":0}}`:          "size.shortest_edge: want 1 to 8192, got 0",
		`{"size":{"height":5}}`:                 "size: want shortest_edge, or height and width",
		`{"size":{"height":5,"width":99999}}`:   "size.width: want 1 to 8192, got 99999",
		`{"size":{"longest_edge":5}}`:           "longest_edge is not supported",
		`{"size":"large"}`:                      "size",
		`{"crop_size":0}`:                       "crop_size: want 1 to 8192, got 0",
		`{"crop_size":{"height":-1,"width":4}}`: "crop_size.height",
		`{"crop_size":4294967297}`:              "crop_size",
		`{"resample":6}`:                        "resample: want 0 to 5, got 6",
		`{"resample":-1}`:                       "resample",
		`{"resample":"bicubic"}`:                "resample",
		`{"do_resize":"yes"}`:                   "do_resize",
		`{"image_std":[0.1,0,0.3]}`:             "image_std[1]: want a number above 0, got 0",
		`{"image_std":[0.1,-1,0.3]}`:            "image_std[1]",
		`{"image_std":1e-60}`:                   "image_std[0]",
		`{"image_std":1e-39}`:                   "want finite values",
		`{"image_mean":[0.1,0.2]}`:              "image_mean: want a number or three",
		`{"image_mean":1e39}`:                   "want finite values",
		`{"image_mean":NaN}`:                    "preprocessor_config.json",
		`{"rescale_factor":1e308}`:              "rescale_factor 1e+308",
		`{"do_center_crop":false}`:              "do_center_crop: is false",
		`{"do_center_crop":false,"do_resize":false,"size":{"height":5,"width":5}}`: "do_center_crop: is false",
		`{"image_grid_pinpoints":[]}`:                "image_grid_pinpoints: want 1 to 256, got 0",
		`{"image_grid_pinpoints":[[1]]}`:             "image_grid_pinpoints[0]",
		`{"image_grid_pinpoints":[[336,0]]}`:         "image_grid_pinpoints[0]: want 1 to 8192, got 0",
		`{"image_grid_pinpoints":"(1x1),...,(6x6)"}`: "image_grid_pinpoints",
	} {
		_, err := pixels.ParseConfig([]byte(config))
		require.ErrorContains(t, err, want, config)
	}
}

func TestConfigSizes(t *testing.T) {
	for config, want := range map[string][2]int{
		`{}`: {224, 224},
		`{"size":null,"crop_size":null,"image_mean":null}`: {224, 224},
		`{"crop_size":336}`:                                                     {336, 336},
		`{"crop_size":{"height":10,"width":20}}`:                                {20, 10},
		`{"crop_size":{"shortest_edge":12}}`:                                    {12, 12},
		`{"size":{"height":30,"width":40},"do_center_crop":false}`:              {40, 30},
		`{"size":[30,40],"do_center_crop":false,"do_normalize":false}`:          {40, 30},
		`{"do_normalize":false,"image_std":0,"do_rescale":false,"crop_size":7}`: {7, 7},
	} {
		c, err := pixels.ParseConfig([]byte(config))
		require.NoError(t, err, config)
		w, h := c.OutputSize()
		require.Equal(t, want, [2]int{w, h}, config)
	}
}

// The sums are of what CLIPImageProcessor of transformers 4.45.2 makes of the same picture under the same configuration.
func TestCLIPEqualsTransformersUnderOtherConfigurations(t *testing.T) {
	for config, want := range clipSums {
		require.Equal(t, want, sum(clipBytes(t, noise(61, 43), config)), config)
	}
}

func TestCLIPCropsWhatIsNarrowToZeros(t *testing.T) {
	c, err := pixels.ParseConfig([]byte(`{"do_resize":false,"do_rescale":false,"do_normalize":false,"crop_size":{"height":1,"width":4}}`))
	require.NoError(t, err)
	dst := make([]float32, 12)
	require.NoError(t, c.CLIP(&pixels.Image{Mode: pixels.L, Width: 1, Height: 1, Pix: []byte{9}}, dst))
	require.Equal(t, []float32{0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 9, 0}, dst)
}

func TestCLIPNamesWhatIsWrong(t *testing.T) {
	c, err := pixels.ParseConfig([]byte(`{"do_convert_rgb":false,"crop_size":2}`))
	require.NoError(t, err)
	require.ErrorContains(t, c.CLIP(noise(3, 3), make([]float32, 11)), "want room for 3x2x2 pixels, got 11")
	require.ErrorContains(t, c.CLIP(nil, make([]float32, 12)), "nil")
	require.ErrorContains(t, c.CLIP(&pixels.Image{Mode: pixels.L, Width: 1, Height: 1, Pix: []byte{1}}, make([]float32, 12)), "do_convert_rgb is false")
	require.ErrorContains(t, c.CLIP(&pixels.Image{Mode: pixels.L, Width: 1, Height: 1}, make([]float32, 12)), "pixels: image of mode L")
	require.NoError(t, c.CLIP(noise(3, 3), make([]float32, 12)))
}

func TestCLIPOfALineComputesNoMoreThanTheCrop(t *testing.T) {
	// Scaled to a short side of 224 this is 3.7 million pixels long; the reference makes all of them.
	im := &pixels.Image{Mode: pixels.L, Width: 16384, Height: 1, Pix: make([]byte, 16384)}
	c, err := pixels.ParseConfig([]byte(`{}`))
	require.NoError(t, err)
	require.NoError(t, c.CLIP(im, make([]float32, 3*224*224)))
}

var clipSums = map[string]string{
	`{"size":{"height":100,"width":151},"crop_size":{"height":91,"width":333}}`:                                                              "2fa8fbfb3b090c7182d612115801c0708a9e008d4e3613e734ebf92ca51392f8",
	`{"do_resize":false,"crop_size":50}`:                                                                                                     "ccda038227f4f5a3ce64113643ac4d4b39e2b8c63390c9396d8bf7a538c35f93",
	`{"size":50,"crop_size":{"height":71,"width":64},"resample":2,"do_rescale":false}`:                                                       "d8164b2c4a7139d51b37cf6dbef1bab7c4f36c7a3cc8c960f7b493a04448cff5",
	`{"size":{"shortest_edge":33},"crop_size":36,"resample":0,"do_normalize":false}`:                                                         "42defc8e421df69e0cd00d49e76b20180694c043c103c3de8d7ac7b2d92f10d6",
	`{"size":{"height":77,"width":61},"do_center_crop":false,"resample":1,"image_mean":0.5,"image_std":[0.1,0.2,0.3],"rescale_factor":0.01}`: "7af56089b603ccefc7d8ee917b462bccbbdb335184794ec40c8625744823866b",
	`{"resample":4,"crop_size":97}`:                                                                                                          "9840f1c0c211c7c4d276d2db792e9db45613429ed1cb1024ea967ccb80eb0174",
	`{"resample":5,"size":{"shortest_edge":97}}`:                                                                                             "ec286e470ba957cd460205cd9754ef2a06e29b78d67f2f94928b10fcd194be92",
	`{"do_rescale":false,"do_normalize":false,"crop_size":31}`:                                                                               "02c37f72eafed999c30c260974b4d4126d50d8c80f2f3cacf1262b5130da2199",
}
