package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// A command is what one file of this package declares: everything its help says and what it does.
type command struct {
	name, summary string
	usage         []string // each a way to call it, without "bgevl name"
	description   []string // paragraphs
	operands      string   // the placeholder of its operands, for completion; empty for none
	flags         []cli.Flag
	choices       map[string][]string // the words that an option, or an operand under "", is limited to
	examples      []example
	action        cli.ActionFunc
}

// An example is a line to type and what it does.
type example struct{ what, line string }

// helpWidth is the widest line of any help text: it fits a terminal of 80 columns.
const helpWidth = 78

// exitStatus is the part of the help that lists what the process ends with.
const exitStatus = `Exit status:
  0    all went well
  1    an error; the line on standard error says which
  2    the arguments are wrong
  3    some inputs failed, the others were done
  130  interrupted (SIGINT or SIGTERM)
`

// appHelp returns the help text of the program, as a template for urfave/cli.
func appHelp(cs []command) string {
	var b strings.Builder
	b.WriteString("bgevl - images, texts, or both together to BGE-VL embeddings\n\nUsage:\n  bgevl COMMAND [options] [operands]\n\nCommands:\n")
	for _, c := range cs {
		fmt.Fprintf(&b, "  %-12s%s\n", c.name, c.summary)
	}
	b.WriteString("\nbgevl COMMAND --help says more, with examples.\n\nOptions:\n")
	b.WriteString("  -h, --help      show this text\n  -v, --version   print the version\n\n")
	b.WriteString("Examples:\n  bgevl pull base -o base.gguf\n")
	b.WriteString("  bgevl score -m base.gguf --image query.png --text \"at night\" *.jpg\n\n")
	b.WriteString(exitStatus)
	return template(b.String())
}

// help returns the command's help text, as a template for urfave/cli.
func (c command) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "bgevl %s - %s\n\nUsage:\n", c.name, c.summary)
	for _, u := range c.usage {
		fmt.Fprintf(&b, "  bgevl %s %s\n", c.name, u)
	}
	for _, p := range c.description {
		b.WriteString("\n" + wrap(p, helpWidth, "") + "\n")
	}
	b.WriteString("\nOptions:\n" + flagList(c.flags))
	b.WriteString("\nExamples:\n")
	for i, e := range c.examples {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "  # %s\n  %s\n", e.what, strings.ReplaceAll(e.line, "\n", "\n      "))
	}
	b.WriteString("\n" + exitStatus)
	return template(b.String())
}

// template makes a text pass unchanged through text/template.
func template(text string) string { return strings.ReplaceAll(text, "{{", `{{"{{"}}`) }

// flagList describes the options, one paragraph each: names in one column, what they do in another.
func flagList(flags []cli.Flag) string {
	type row struct{ names, does string }
	rows := make([]row, 0, len(flags)+1)
	for _, f := range flags {
		does, value := placeholder(f.(cli.DocGenerationFlag).GetUsage())
		rows = append(rows, row{flagNames(f.Names(), value), does})
	}
	rows = append(rows, row{"-h, --help", "show this text"})
	const most = 26 // a longer name has its text on the next line
	column := 0
	for _, r := range rows {
		if n := len(r.names) + 4; n <= most {
			column = max(column, n)
		}
	}
	var b strings.Builder
	for _, r := range rows {
		indent := strings.Repeat(" ", column)
		does := strings.TrimPrefix(wrap(r.does, helpWidth, indent), indent)
		if len(r.names)+4 > column {
			fmt.Fprintf(&b, "  %s\n%s%s\n", r.names, indent, does)
			continue
		}
		fmt.Fprintf(&b, "  %-*s%s\n", column-2, r.names, does)
	}
	return b.String()
}

// flagNames writes an option as it is typed: "-o, --output FILE".
func flagNames(names []string, value string) string {
	var short, long []string
	for _, n := range names {
		if len(n) == 1 {
			short = append(short, "-"+n)
		} else {
			long = append(long, "--"+n)
		}
	}
	text := strings.Join(append(short, long...), ", ")
	if len(short) == 0 {
		text = "    " + text
	}
	if value != "" {
		text += " " + value
	}
	return text
}

// placeholder takes the word in `backquotes` out of a flag's usage: it names the value.
func placeholder(usage string) (does, value string) {
	before, rest, ok := strings.Cut(usage, "`")
	if !ok {
		return usage, ""
	}
	value, after, _ := strings.Cut(rest, "`")
	return before + value + after, value
}

// wrap breaks a text into lines of at most width columns, each with the indent before it. Line breaks in the text stay.
func wrap(text string, width int, indent string) string {
	var lines []string
	for _, paragraph := range strings.Split(text, "\n") {
		if strings.HasPrefix(paragraph, " ") { // laid out by hand
			lines = append(lines, indent+paragraph)
			continue
		}
		line := indent
		for _, word := range strings.Fields(paragraph) {
			if len(line) > len(indent) && len(line)+1+len(word) > width {
				lines = append(lines, line)
				line = indent
			}
			if len(line) > len(indent) {
				line += " "
			}
			line += word
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
