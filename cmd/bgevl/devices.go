package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/bgevl/bgevl/bgevl"
)

func devicesCommand(s *streams) command {
	return command{
		name:    "devices",
		summary: "list what models can be computed on",
		usage:   []string{"[--json]"},
		description: []string{
			"Lists the processor with the instruction sets that it can run, the one in use first, and the graphics processors " +
				"that this build and machine have. embed and score take one by --device, and else the processor. Which backends " +
				"there are is chosen when bgevl is built: README.md says how.",
			"With --json, an array of {name, kind, backend, description, free_bytes, total_bytes, instruction_sets}.",
		},
		flags:    []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON"}},
		examples: []example{{"what there is", "bgevl devices"}, {"the same, for a program", "bgevl devices --json"}},
		action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("%s: takes no operand", c.Args().First())
			}
			list, err := bgevl.Devices()
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(s.out, deviceRows(list))
			}
			var rows [][]string
			for _, d := range list {
				about := d.Description
				if len(d.InstructionSets) > 0 {
					about += " (" + strings.Join(d.InstructionSets, ", ") + ")"
				}
				rows = append(rows, []string{d.Name, d.Kind, d.Backend, size(d.Free), size(d.Total), about})
			}
			s.table([]column{{name: "device"}, {name: "kind"}, {name: "backend"}, {name: "free", right: true},
				{name: "memory", right: true}, {name: "description", give: true}}, rows)
			return nil
		},
	}
}

// deviceRow is a device as --json prints it.
type deviceRow struct {
	Name            string   `json:"name"`
	Kind            string   `json:"kind"`
	Backend         string   `json:"backend"`
	Description     string   `json:"description"`
	FreeBytes       int64    `json:"free_bytes"`
	TotalBytes      int64    `json:"total_bytes"`
	InstructionSets []string `json:"instruction_sets"`
}

func deviceRows(list []bgevl.Device) []deviceRow {
	rows := []deviceRow{}
	for _, d := range list {
		rows = append(rows, deviceRow{d.Name, d.Kind, d.Backend, d.Description, d.Free, d.Total, append([]string{}, d.InstructionSets...)})
	}
	return rows
}
