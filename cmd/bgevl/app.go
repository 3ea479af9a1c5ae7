package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// commands lists the program's commands in the order of its help.
func commands(s *streams) []command {
	return []command{
		pullCommand(s),
		convertCommand(s),
		inspectCommand(s),
		embedCommand(s),
		scoreCommand(s),
		serveCommand(s),
		devicesCommand(s),
		versionCommand(s),
		completionCommand(s),
	}
}

// newApp builds the command line. Its help and its errors are this package's own: urfave/cli parses and dispatches.
func newApp(s *streams) *cli.App {
	app := &cli.App{
		Name:    "bgevl",
		Usage:   "images and texts to BGE-VL embeddings",
		Version: versionText(),
		Reader:  s.in, Writer: s.out, ErrWriter: s.err,
		// A text may hold commas.
		DisableSliceFlagSeparator: true,
		CustomAppHelpTemplate:     appHelp(commands(s)),
		// run prints errors and chooses the exit status.
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return badFlag(err, "", nil) },
		Action: func(c *cli.Context) error {
			if name := c.Args().First(); name != "" {
				return usagef("%s: no such command%s; see bgevl --help", name, didYouMean(nearest(name, c.App.Commands)))
			}
			c.App.Writer = s.err
			_ = cli.ShowAppHelp(c)
			return usagef("no command given")
		},
	}
	for _, c := range commands(s) {
		app.Commands = append(app.Commands, c.build())
	}
	return app
}

// build makes a command into what urfave/cli dispatches to.
func (c command) build() *cli.Command {
	return &cli.Command{
		Name:               c.name,
		Usage:              c.summary,
		Flags:              c.flags,
		HideHelpCommand:    true, // an operand may be called help
		CustomHelpTemplate: c.help(),
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return badFlag(err, c.name, c.flags)
		},
		Action: func(ctx *cli.Context) error {
			err := c.action(ctx)
			if u, ok := err.(*usageError); ok { //nolint:errorlint // only the command's own, not one wrapped below it
				return usagef("%s: %s; see bgevl %s --help", c.name, u.message, c.name)
			}
			return err
		},
	}
}

// badFlag words what the flag parser found wrong.
func badFlag(err error, command string, flags []cli.Flag) error {
	where, remedy := "", "bgevl --help"
	if command != "" {
		where, remedy = command+": ", "bgevl "+command+" --help"
	}
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		name = strings.TrimPrefix(name, "-")
		text = "no such option: --" + name + didYouMean(cli.SuggestFlag(flags, name, false))
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		text = dashed(strings.TrimPrefix(name, "-")) + ": needs a value"
	}
	if rest, ok := strings.CutPrefix(text, "invalid value "); ok {
		value, rest, _ := strings.Cut(rest, " for flag -")
		name, why, _ := strings.Cut(rest, ": ")
		text = dashed(name) + " " + value + ": " + why
	}
	return usagef("%s%s; see %s", where, text, remedy)
}

func didYouMean(what string) string {
	if what == "" {
		return ""
	}
	return " (did you mean " + what + "?)"
}

// nearest returns the command that a mistyped name may have meant, or nothing.
func nearest(name string, known []*cli.Command) string {
	for _, c := range known {
		if strings.HasPrefix(c.Name, name) {
			return c.Name
		}
	}
	return cli.SuggestCommand(known, name)
}

// flagsFirst moves a command's options before its operands, where the flag parser wants them: people write both
// `convert DIR -o FILE` and `convert -o FILE DIR`. What follows "--" is an operand, whatever it looks like.
func flagsFirst(app *cli.App, args []string) []string {
	at := 1
	for at < len(args) && strings.HasPrefix(args[at], "-") {
		at++
	}
	if at >= len(args) {
		return args
	}
	cmd := app.Command(args[at])
	if cmd == nil {
		return args
	}
	takesValue := map[string]bool{}
	for _, f := range cmd.Flags {
		if d, ok := f.(cli.DocGenerationFlag); ok && d.TakesValue() {
			for _, n := range f.Names() {
				takesValue[n] = true
			}
		}
	}
	var options, operands []string
	for rest := args[at+1:]; len(rest) > 0; rest = rest[1:] {
		a := rest[0]
		if a == "--" {
			operands = append(operands, rest[1:]...)
			break
		}
		if len(a) < 2 || a[0] != '-' {
			operands = append(operands, a)
			continue
		}
		options = append(options, a)
		if !takesValue[strings.TrimLeft(a, "-")] {
			continue
		}
		if len(rest) == 1 { // the parser says that the value is missing, if nothing follows that it could take for it
			return append(append([]string{}, args[:at+1]...), options...)
		}
		options = append(options, rest[1])
		rest = rest[1:]
	}
	out := append(append([]string{}, args[:at+1]...), options...)
	return append(append(out, "--"), operands...)
}
