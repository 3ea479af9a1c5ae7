package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/bgevl/bgevl/bgevl"
)

// listTasks prints the presets of --task: a table, or with --format json all that there is to know about them.
func listTasks(c *cli.Context, s *streams) error {
	format := c.String("format")
	switch {
	case c.NArg() > 0:
		return usagef("%s: --list-tasks takes no operand", c.Args().First())
	case format != "" && format != "json":
		return usagef("--format %s: --list-tasks prints a table, or json", format)
	}
	tasks := bgevl.Tasks()
	if format == "json" {
		type row struct {
			Name        string   `json:"name"`
			Family      string   `json:"family"`
			Query       string   `json:"query"`
			Candidates  string   `json:"candidates"`
			Instruction string   `json:"instruction"`
			Datasets    []string `json:"datasets"`
		}
		var rows []row
		for _, t := range tasks {
			rows = append(rows, row{t.Name, t.Family, t.Query, t.Candidates, t.Instruction, append([]string{}, t.Datasets...)})
		}
		return printJSON(s.out, rows)
	}
	var rows [][]string
	for _, t := range tasks {
		rows = append(rows, []string{t.Name, t.Query, strings.TrimSpace(t.Instruction)})
	}
	s.table([]column{{name: "task"}, {name: "query"}, {name: "instruction", give: true}}, rows)
	return nil
}
