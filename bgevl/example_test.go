package bgevl_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/bgevl/bgevl/bgevl"
	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/internal/randmodel"
)

// pictures is where the repository has some.
const pictures = "../examples/pictures"

// model makes a small model with random weights, for examples that run anywhere. A real one comes from a checkpoint of
// the hub by the same convert.Run, or by bgevl convert on the command line.
func model(dir string) string {
	checkpoint, path := filepath.Join(dir, "checkpoint"), filepath.Join(dir, "model.gguf")
	if err := randmodel.CLIP(checkpoint, randmodel.Spec{}); err != nil {
		log.Fatal(err)
	}
	if _, err := convert.Run(context.Background(), checkpoint, path, nil); err != nil {
		log.Fatal(err)
	}
	return path
}

func Example() {
	dir, err := os.MkdirTemp("", "bgevl")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	e, err := bgevl.Open(model(dir), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()

	// The published usage of BGE-VL: a picture and what should be different, against candidate pictures.
	query := bgevl.Input{
		Text:  new("the same harbour at night"),
		Image: bgevl.ImageFile(filepath.Join(pictures, "harbour_day.jpg")),
	}
	candidates := []bgevl.Input{
		{Image: bgevl.ImageFile(filepath.Join(pictures, "harbour_night.jpg"))},
		{Image: bgevl.ImageFile(filepath.Join(pictures, "forest.jpg"))},
	}
	ranked, err := e.Rank(context.Background(), query, candidates)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(ranked), "candidates, best first:", ranked[0].Score >= ranked[1].Score)
	// Output: 2 candidates, best first: true
}

// The same with an MLLM model, which wants to know the task of its queries.
func Example_instruction() {
	dir, err := os.MkdirTemp("", "bgevl")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	checkpoint, path := filepath.Join(dir, "checkpoint"), filepath.Join(dir, "model.gguf")
	if err := randmodel.MLLM(checkpoint, randmodel.MLLMSpec{}); err != nil {
		log.Fatal(err)
	}
	if _, err := convert.Run(context.Background(), checkpoint, path, nil); err != nil { // mmproj-model.gguf too
		log.Fatal(err)
	}

	e, err := bgevl.Open(path, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	fmt.Println("vision side:", filepath.Base(e.Info().Projector))

	task, _ := bgevl.FindTask("composed-retrieval")
	query := bgevl.Input{
		Text:        new("the same harbour at night"),
		Image:       bgevl.ImageFile(filepath.Join(pictures, "harbour_day.jpg")),
		Instruction: &task.Instruction,
	}
	ranked, err := e.Rank(context.Background(), query, []bgevl.Input{
		{Image: bgevl.ImageFile(filepath.Join(pictures, "harbour_night.jpg"))},
		{Text: new("a forest")},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(ranked), "candidates, best first:", ranked[0].Score >= ranked[1].Score)
	// Output:
	// vision side: mmproj-model.gguf
	// 2 candidates, best first: true
}

func ExampleEmbedder_Embed() {
	dir, err := os.MkdirTemp("", "bgevl")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	e, err := bgevl.Open(model(dir), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()

	rows, err := e.Embed(context.Background(), []bgevl.Input{
		{Text: new("a balloon")},
		{Image: bgevl.ImageFile(filepath.Join(pictures, "balloon.png"))},
		{Image: bgevl.ImageFile("no/such/picture.png")}, // fails alone
	})
	fmt.Println(err)
	for _, row := range rows {
		fmt.Println(len(row))
	}
	// Output:
	// bgevl: input 2: image no/such/picture.png: no such file or directory
	// 32
	// 32
	// 0
}

func ExampleEmbedder_Stream() {
	dir, err := os.MkdirTemp("", "bgevl")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	e, err := bgevl.Open(model(dir), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()

	inputs := func(yield func(bgevl.Input, error) bool) {
		for i := range 3 { // or as many as there are: they do not pile up
			if !yield(bgevl.Input{ID: fmt.Sprint("text ", i), Text: new("a tree")}, nil) {
				return
			}
		}
	}
	for result, err := range e.Stream(context.Background(), inputs) {
		if err != nil {
			log.Fatal(err) // of the whole stream
		}
		fmt.Println(result.ID, len(result.Embedding), result.Err)
	}
	// Output:
	// text 0 32 <nil>
	// text 1 32 <nil>
	// text 2 32 <nil>
}

func ExampleScore() {
	fmt.Println(bgevl.Score([]float32{0.6, 0.8}, []float32{0, 1}))
	// Output: 0.8
}

// A query for a model with instructions says what it is to retrieve; candidates have a role and no instruction.
func ExampleFindTask() {
	task, ok := bgevl.FindTask("caption-to-image") // or a dataset of MMEB: "MSCOCO_t2i"
	if !ok {
		log.Fatal("no such task")
	}
	query := bgevl.Input{Text: new("a dog in the snow"), Instruction: &task.Instruction}
	candidate := bgevl.Input{Image: bgevl.ImageFile("dog.jpg"), Role: bgevl.RoleCandidate}
	fmt.Println(query.Role, "with:", *query.Instruction)
	fmt.Println(candidate.Role)
	// Output:
	// query with: Find me an everyday image that matches the given caption:
	// candidate
}
