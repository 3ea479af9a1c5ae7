package llama_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/bgevl/bgevl/internal/pixels"
	"github.com/bgevl/bgevl/llama"
)

// Continue a prompt and print the text as it comes, for at most ten seconds.
func ExampleModel_Predict() {
	m, err := llama.Open("mistral-7b-q4_k_m.gguf", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = m.Predict(ctx, "[INST] Name three rivers. [/INST]", &llama.PredictOptions{
		MaxTokens: 200, Temperature: 0.8, TopK: 40, TopP: 0.95, Seed: 1, Stop: []string{"\n\n"},
		Callback: func(text string) bool {
			fmt.Print(text)
			return true
		},
	})
	if err != nil {
		log.Fatal(err)
	}
}

// The embedding of a text: the last token's state, of length one.
func ExampleModel_Embeddings() {
	m, err := llama.Open("mistral-7b-q8_0.gguf", &llama.Options{TextOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	embedding, err := m.Embeddings(context.Background(), "a cat on a mat")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(embedding) == m.Info().Width)
}

// States of two positions of a prompt with a picture in it. The projector, mmproj-llava-f16.gguf, lies beside the model.
func ExampleModel_HiddenStates() {
	ctx := context.Background()
	m, err := llama.Open("llava-f16.gguf", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	data, err := os.ReadFile("cat.png")
	if err != nil {
		log.Fatal(err)
	}
	im, err := pixels.Decode(data, pixels.Limits{})
	if err != nil {
		log.Fatal(err)
	}
	picture, err := m.Preprocess(im)
	if err != nil {
		log.Fatal(err)
	}
	features, err := m.EncodePicture(ctx, picture)
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := m.Tokenize("[INST] <image> What is it? [/INST]")
	if err != nil {
		log.Fatal(err)
	}
	states, err := m.HiddenStates(ctx, []llama.Input{
		{Tokens: tokens, Images: [][]float32{features}, Wanted: []int{1, -1}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(states[0]) == 2*m.Info().Width)
}
