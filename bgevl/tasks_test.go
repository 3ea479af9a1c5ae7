package bgevl_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/bgevl"
)

// mmeb is the datasets of MMEB by family. CIFAR-100 was dropped from it before it was published.
var mmeb = map[string][]string{
	"classification": {"ImageNet-1K", "N24News", "HatefulMemes", "VOC2007", "SUN397", "Place365", "ImageNet-A", "ImageNet-R",
		"ObjectNet", "Country211"},
	"vqa": {"OK-VQA", "A-OKVQA", "DocVQA", "InfographicsVQA", "ChartQA", "Visual7W", "ScienceQA", "VizWiz", "GQA", "TextVQA"},
	"retrieval": {"VisDial", "CIRR", "VisualNews_t2i", "VisualNews_i2t", "MSCOCO_t2i", "MSCOCO_i2t", "NIGHTS", "WebQA",
		"FashionIQ", "Wiki-SS-NQ", "OVEN", "EDIS"},
	"grounding": {"MSCOCO", "RefCOCO", "RefCOCO-Matching", "Visual7W-Pointing"},
}

func TestTasks(t *testing.T) {
	names := map[string]bool{}
	datasets := map[string]string{}
	for _, task := range bgevl.Tasks() {
		assert.Regexp(t, `^[a-z]+(-[a-z]+)*$`, task.Name)
		assert.NotEmpty(t, task.Instruction)
		assert.Equal(t, strings.TrimSpace(task.Instruction)+map[bool]string{true: " "}[task.Name == "composed-retrieval"], task.Instruction,
			"only the published example has a space at its end")
		assert.Contains(t, []string{"text", "image", "image and text"}, task.Query)
		assert.Contains(t, []string{"texts", "images", "images with texts"}, task.Candidates)
		for _, name := range append([]string{task.Name}, task.Datasets...) {
			assert.False(t, names[strings.ToLower(name)], "%s stands for two tasks", name)
			names[strings.ToLower(name)] = true
		}
		for _, d := range task.Datasets {
			datasets[d] = task.Family
		}
	}
	want := map[string]string{}
	for family, list := range mmeb {
		for _, d := range list {
			want[d] = family
		}
	}
	assert.Equal(t, want, datasets, "all 36 datasets of MMEB")
}

func TestFindTask(t *testing.T) {
	task, ok := bgevl.FindTask("composed-retrieval")
	require.True(t, ok)
	assert.Equal(t, "Retrieve the target image that best meets the combined criteria by using both the provided image and the "+
		"image retrieval instructions: ", task.Instruction)
	for _, name := range []string{"caption-to-image", "Caption-To-Image", "mscoco_t2i", "MSCOCO_t2i"} {
		task, ok := bgevl.FindTask(name)
		require.True(t, ok, name)
		assert.Equal(t, "caption-to-image", task.Name)
	}
	_, ok = bgevl.FindTask("")
	assert.False(t, ok)
	_, ok = bgevl.FindTask("caption")
	assert.False(t, ok)
	tasks := bgevl.Tasks()
	tasks[0].Name, tasks[1].Datasets[0] = "changed", "changed"
	_, ok = bgevl.FindTask("changed")
	assert.False(t, ok, "what Tasks returns is the caller's")
}
