package main

import (
	"fmt"
	"strings"
	"time"

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
				"that this build and machine have. embed and score take one by --device, and else the default. Which backends " +
				"there are is chosen when bgevl is built: README.md says how.",
			"Where there is a choice, each computes a small piece of work. The default is the fastest of those that compute what " +
				"the processor does; probe says how long each took, or what went wrong.",
			"With --json, an array of {name, kind, backend, description, free_bytes, total_bytes, instruction_sets, default, " +
				"probe_ms, fault}.",
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
				rows = append(rows, []string{d.Name, mark(d.Default), probeText(d), d.Kind, d.Backend, size(d.Free), size(d.Total), about})
			}
			s.table([]column{{name: "device"}, {name: "default"}, {name: "probe", give: true}, {name: "kind"}, {name: "backend"},
				{name: "free", right: true}, {name: "memory", right: true}, {name: "description", give: true}}, rows)
			return nil
		},
	}
}

func mark(is bool) string {
	if is {
		return "yes"
	}
	return ""
}

// probeText says how a device did, in few words.
func probeText(d bgevl.Device) string {
	switch {
	case d.Fault != "":
		return d.Fault
	case d.Probe > 0:
		return fmt.Sprintf("%.1f ms", milliseconds(d.Probe))
	}
	return ""
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// deviceRow is a device as --json prints it.
type deviceRow struct {
	Name            string   `json:"name"`
	Kind            string   `json:"kind"`
	Backend         string   `json:"backend"`
	Description     string   `json:"description"`
	FreeBytes       int64    `json:"free_bytes"`
	TotalBytes      int64    `json:"total_bytes"`
	InstructionSets []string `json:"instruction_sets"`
	Default         bool     `json:"default"`
	ProbeMS         float64  `json:"probe_ms"` // zero where it was not tried, or failed
	Fault           string   `json:"fault"`
}

func deviceRows(list []bgevl.Device) []deviceRow {
	rows := []deviceRow{}
	for _, d := range list {
		rows = append(rows, deviceRow{d.Name, d.Kind, d.Backend, d.Description, d.Free, d.Total, append([]string{}, d.InstructionSets...),
			d.Default, milliseconds(d.Probe), d.Fault})
	}
	return rows
}
