package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/bgevl/bgevl/bgevl"
)

func scoreCommand(s *streams) command {
	return command{
		name:    "score",
		summary: "rank candidates by how well they match a query",
		usage: []string{
			"-m MODEL [--text TEXT] [--image FILE] [options] CANDIDATE...",
		},
		description: []string{
			"The query is a text, an image, or an image with a text that says how the wanted one differs. Candidates are " +
				"image files, and texts by --candidate-text. They are listed with the best first; a score is the cosine of the two " +
				"embeddings, from -1 to 1.",
			"An MLLM model wants to know what the query is to retrieve: --task names an instruction that it was trained with, " +
				"--instruction is one of your own. Candidates have none. CLIP models ignore both.",
			"A candidate that fails is listed last with its error, and the exit status is 3. With --json, one object: " +
				"{\"model\", \"query\": {\"text\", \"image\", \"instruction\"}, \"results\": [{\"rank\", \"score\", \"index\", \"image\" or " +
				"\"text\"}], \"errors\": [{\"index\", \"image\" or \"text\", \"error\"}]}, where index counts the candidates from 0: " +
				"image files in their order, then texts in theirs.",
		},
		operands: "FILE",
		flags: withModel(
			&cli.StringFlag{Name: "text", Usage: "the query's text is `TEXT`"},
			&cli.StringFlag{Name: "image", Usage: "the query's picture is `FILE`"},
			&cli.StringSliceFlag{Name: "candidate-text", Usage: "a candidate is `TEXT`; may be given again"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		),
		choices: map[string][]string{"task": taskNames()},
		examples: []example{
			{"find the picture that a change would lead to", "bgevl score -m base.gguf --image query.png --text \"at night\" *.jpg"},
			{"the same with an MLLM model", "bgevl score -m s1.gguf --image query.png --text \"at night\" \\\n--task composed-retrieval *.jpg"},
			{"which of two captions fits", "bgevl score -m base.gguf --image dog.jpg \\\n--candidate-text \"a dog\" --candidate-text \"a cat\""},
			{"the best one, for a program", "bgevl score -m base.gguf --text \"a dog\" --json *.jpg |\njq -r '.results[0].image'"},
		},
		action: func(c *cli.Context) error { return runScore(c, s) },
	}
}

// A scoring is the documented JSON of a score.
type scoring struct {
	Model   string       `json:"model"`
	Query   scoredQuery  `json:"query"`
	Results []scored     `json:"results"`
	Errors  []scoreError `json:"errors"`
}

type scoredQuery struct {
	Text        *string `json:"text,omitempty"`
	Image       string  `json:"image,omitempty"`
	Instruction *string `json:"instruction,omitempty"`
}

type scored struct {
	Rank  int     `json:"rank"`
	Score float32 `json:"score"`
	candidate
}

type scoreError struct {
	candidate
	Error string `json:"error"`
}

type candidate struct {
	Index int     `json:"index"`
	Image string  `json:"image,omitempty"`
	Text  *string `json:"text,omitempty"`
}

// name is the candidate as the table shows it.
func (c candidate) name() string {
	if c.Text != nil {
		return fmt.Sprintf("%q", *c.Text)
	}
	return c.Image
}

func (c candidate) input() bgevl.Input {
	if c.Text != nil {
		return bgevl.Input{Text: c.Text}
	}
	return bgevl.Input{Image: bgevl.ImageFile(c.Image)}
}

func runScore(c *cli.Context, s *streams) error {
	told, err := instruction(c)
	if err != nil {
		return err
	}
	query := scoredQuery{Image: c.String("image"), Instruction: told}
	if c.IsSet("text") {
		query.Text = new(c.String("text"))
	}
	if query.Text == nil && query.Image == "" {
		return usagef("no query: give --text, --image or both")
	}
	var candidates []candidate
	for _, path := range c.Args().Slice() {
		candidates = append(candidates, candidate{Index: len(candidates), Image: path})
	}
	for _, text := range c.StringSlice("candidate-text") {
		candidates = append(candidates, candidate{Index: len(candidates), Text: &text})
	}
	if len(candidates) == 0 {
		return usagef("no candidates: name image files, or give --candidate-text")
	}
	model, err := openModel(c)
	if err != nil {
		return err
	}
	defer model.Close()
	if model.Info().Instructions && query.Instruction == nil {
		s.complain(fmt.Sprintf("score: %s: %s", bgevl.WarnNoInstruction, instructionRemedy))
	}
	out, err := rank(c.Context, model, query, candidates)
	if err != nil {
		return err
	}
	out.Model = c.String("model")
	if err := out.print(c.Bool("json"), s); err != nil {
		return err
	}
	if n := len(out.Errors); n > 0 {
		return fmt.Errorf("score: %d of %d %w; the first, %s: %s", n, len(candidates), errSomeFailed, out.Errors[0].name(), out.Errors[0].Error)
	}
	return nil
}

// rank asks the model, and sorts what it says into results and errors.
func rank(ctx context.Context, model *bgevl.Embedder, query scoredQuery, candidates []candidate) (*scoring, error) {
	input := bgevl.Input{Text: query.Text, Instruction: query.Instruction}
	if query.Image != "" {
		input.Image = bgevl.ImageFile(query.Image)
	}
	inputs := make([]bgevl.Input, len(candidates))
	for i, c := range candidates {
		inputs[i] = c.input()
	}
	ranked, err := model.Rank(ctx, input, inputs)
	if ranked == nil {
		if failure, ok := errors.AsType[*bgevl.InputError](err); ok {
			return nil, fmt.Errorf("score: query: %s", reason(failure))
		}
		return nil, err
	}
	out := &scoring{Query: query, Results: []scored{}, Errors: []scoreError{}}
	for i, r := range ranked {
		out.Results = append(out.Results, scored{Rank: i + 1, Score: r.Score, candidate: candidates[r.Index]})
	}
	for _, failure := range inputErrors(err) {
		out.Errors = append(out.Errors, scoreError{candidates[failure.Index], failure.Err.Error()})
	}
	return out, nil
}

// reason is what failed of an input, and why.
func reason(failure *bgevl.InputError) string {
	if failure.Operand == "" {
		return failure.Err.Error()
	}
	return failure.Operand + ": " + failure.Err.Error()
}

// inputErrors takes joined errors apart.
func inputErrors(err error) []*bgevl.InputError {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { // the join itself, not one below it
		var all []*bgevl.InputError
		for _, e := range joined.Unwrap() {
			all = append(all, inputErrors(e)...)
		}
		return all
	}
	if failure, ok := errors.AsType[*bgevl.InputError](err); ok {
		return []*bgevl.InputError{failure}
	}
	return nil
}

func (out *scoring) print(asJSON bool, s *streams) error {
	if asJSON {
		return printJSON(s.out, out)
	}
	var rows [][]string
	for _, r := range out.Results {
		rows = append(rows, []string{fmt.Sprint(r.Rank), fmt.Sprintf("%.4f", r.Score), r.name()})
	}
	for _, e := range out.Errors {
		rows = append(rows, []string{"-", "failed", e.name() + ": " + e.Error})
	}
	s.table([]column{{name: "rank", right: true}, {name: "score", right: true}, {name: "candidate", give: true}}, rows)
	return nil
}
