package bgevl

import (
	"slices"
	"strings"
)

// Task is an instruction for a kind of search, by name: the models with instructions were trained with one for each.
type Task struct {
	Name        string
	Family      string   // what MMEB calls the kind: "retrieval", "classification", "vqa", "grounding"
	Query       string   // what a query holds: "text", "image", or "image and text"
	Candidates  string   // what is searched: "texts", "images", "images with texts"
	Instruction string   // for Input.Instruction of the queries; candidates take none
	Datasets    []string // of MMEB whose instruction it is, by the benchmark's names; none for composed-retrieval
}

// Families of tasks, as MMEB groups them.
const (
	retrieval      = "retrieval"
	classification = "classification"
	vqa            = "vqa"
	grounding      = "grounding"
)

// What queries and candidates of a task hold.
const (
	fromText  = "text"
	fromImage = "image"
	fromBoth  = "image and text"
	toTexts   = "texts"
	toImages  = "images"
	toPairs   = "images with texts"
)

// Tasks returns the presets: that of the published BGE-VL example first, then those of MMEB by family.
//
// The instruction of composed-retrieval is the one of the models' own usage example, the space at its end included. The
// others are what the queries of TIGER-Lab/MMEB-train and MMEB-eval on the Hugging Face hub begin with (VLM2Vec, arXiv
// 2410.05160, tables 7 to 10, prints the same sentences), without the image's placeholder and the space before the
// query's own text. S2 and v1.5-mmeb were trained on them, and the models' authors refer to them for every other model.
func Tasks() []Task {
	return slices.Concat(retrievalTasks(), classificationTasks(), answerTasks())
}

func retrievalTasks() []Task {
	return []Task{
		{"composed-retrieval", retrieval, fromBoth, toImages, "Retrieve the target image that best meets the combined criteria by " +
			"using both the provided image and the image retrieval instructions: ", nil},
		{"caption-to-image", retrieval, fromText, toImages,
			"Find me an everyday image that matches the given caption:", []string{"MSCOCO_t2i"}},
		{"image-to-image", retrieval, fromImage, toImages,
			"Find a day-to-day image that looks similar to the provided image.", []string{"NIGHTS"}},
		{"image-to-caption", retrieval, fromImage, toTexts,
			"Find an image caption describing the given everyday image.", []string{"MSCOCO_i2t"}},
		{"everyday-change", retrieval, fromBoth, toImages,
			"Given an image, find a similar everyday image with the described changes:", []string{"CIRR"}},
		{"fashion-change", retrieval, fromBoth, toImages,
			"Find an image to match the fashion image and style note:", []string{"FashionIQ"}},
		{"dialogue-to-image", retrieval, fromText, toImages,
			"Represent the given dialogue about an image, which is used for image retrieval:", []string{"VisDial"}},
		{"news-to-image", retrieval, fromText, toImages, "Retrieve an image of this news caption.", []string{"VisualNews_t2i"}},
		{"image-to-news", retrieval, fromImage, toTexts, "Find a caption for the news in the given photo.", []string{"VisualNews_i2t"}},
		{"news-to-pair", retrieval, fromText, toPairs, "Find a news image that matches the provided caption:", []string{"EDIS"}},
		{"question-to-pair", retrieval, fromText, toPairs, "Find a Wikipedia image that answers this question:", []string{"WebQA"}},
		{"image-question-to-pair", retrieval, fromBoth, toPairs, "Retrieve a Wikipedia image-description pair that provides evidence " +
			"for the question of this image:", []string{"OVEN"}},
		{"question-to-document", retrieval, fromText, toImages,
			"Find the document image that can answer the given query:", []string{"Wiki-SS-NQ"}},
	}
}

func classificationTasks() []Task {
	return []Task{
		{"classification", classification, fromImage, toTexts,
			"Represent the given image for classification", []string{"ImageNet-1K", "ImageNet-A", "ImageNet-R"}},
		{"object-classification", classification, fromImage, toTexts,
			"Identify the object shown in the image", []string{"VOC2007", "ObjectNet"}},
		{"scene-classification", classification, fromImage, toTexts,
			"Identify the scene shown in the image", []string{"SUN397", "Place365"}},
		{"country-classification", classification, fromImage, toTexts,
			"Identify the country depicted in the image", []string{"Country211"}},
		{"news-classification", classification, fromBoth, toTexts,
			"Represent the given news image with the following caption for domain classification:", []string{"N24News"}},
		{"hate-classification", classification, fromImage, toTexts, "Represent the given image for binary classification to determine " +
			"whether it constitutes hateful speech or not", []string{"HatefulMemes"}},
	}
}

func answerTasks() []Task {
	return []Task{
		{"question-answering", vqa, fromBoth, toTexts, "Represent the given image with the following question:",
			[]string{"OK-VQA", "A-OKVQA", "DocVQA", "InfographicsVQA", "ChartQA", "Visual7W", "ScienceQA", "VizWiz", "GQA", "TextVQA"}},
		{"object-grounding", grounding, fromBoth, toImages,
			"Select the portion of the image that isolates the object labeled as", []string{"MSCOCO"}},
		{"expression-grounding", grounding, fromBoth, toImages,
			"Select the portion of the image that follows the language expressions.", []string{"RefCOCO"}},
		{"expression-matching", grounding, fromBoth, toPairs,
			"Select the portion of the image that follows the language expressions:", []string{"RefCOCO-Matching"}},
		{"question-grounding", grounding, fromBoth, toImages,
			"Select the portion of the image that answers the question", []string{"Visual7W-Pointing"}},
	}
}

// FindTask returns the preset of that name, or of that MMEB dataset. Case does not count.
func FindTask(name string) (Task, bool) {
	for _, t := range Tasks() {
		named := func(other string) bool { return strings.EqualFold(name, other) }
		if named(t.Name) || slices.ContainsFunc(t.Datasets, named) {
			return t, true
		}
	}
	return Task{}, false
}
