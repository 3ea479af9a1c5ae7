package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

func completionCommand(s *streams) command {
	shells := map[string]func(io.Writer, []command){"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	return command{
		name:    "completion",
		summary: "print the completion script of a shell",
		usage:   []string{"bash|zsh|fish"},
		description: []string{
			"Prints a script that completes commands, options, their values and file names. Once loaded it does not run bgevl.",
		},
		choices: map[string][]string{operand: {"bash", "zsh", "fish"}},
		examples: []example{
			{"for this bash", "source <(bgevl completion bash)"},
			{"for every zsh", "bgevl completion zsh > \"${fpath[1]}/_bgevl\""},
			{"for every fish", "bgevl completion fish > ~/.config/fish/completions/bgevl.fish"},
		},
		action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("name one shell: bash, zsh or fish")
			}
			script, ok := shells[c.Args().First()]
			if !ok {
				return usagef("%s: no such shell: want bash, zsh or fish", c.Args().First())
			}
			script(s.out, commands(s))
			return nil
		},
	}
}

// operand is the key of the operands, beside the options, in a command's choices and values.
const operand = ""

// An option is a flag as a completion script sees it.
type option struct {
	names  []string // with their dashes
	does   string
	value  string // the placeholder of its value; empty for a switch
	many   bool
	choice []string
}

func (c command) options() []option {
	var out []option
	for _, f := range c.flags {
		does, value := placeholder(f.(cli.DocGenerationFlag).GetUsage())
		does, _, _ = strings.Cut(does, ";")
		_, many := f.(*cli.StringSliceFlag)
		o := option{does: does, value: value, many: many, choice: c.choices[f.Names()[0]]}
		for _, n := range f.Names() {
			o.names = append(o.names, dashed(n))
		}
		out = append(out, o)
	}
	return append(out, option{names: []string{"-h", "--help"}, does: "show help"})
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// takesFile and takesFolder say what a placeholder stands for.
func takesFile(value string) bool {
	return strings.HasPrefix(value, "FILE") || value == "MODEL" || strings.HasSuffix(value, ".jsonl") ||
		strings.HasSuffix(value, ".gguf")
}

func takesFolder(value string) bool { return value == "DIR" }

// quote puts a text in single quotes for any of the three shells.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func names(cs []command) string {
	var out []string
	for _, c := range cs {
		out = append(out, c.name)
	}
	return strings.Join(out, " ")
}

func bashCompletion(w io.Writer, cs []command) {
	fmt.Fprint(w, `# bash completion for bgevl: source <(bgevl completion bash)
_bgevl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in -*) ;; *) command=${COMP_WORDS[i]}; break ;; esac
    done
    case $command in
    '')
        mapfile -t COMPREPLY < <(compgen -W `+quote(names(cs)+" --help --version")+` -- "$cur")
        return ;;
`)
	for _, c := range cs {
		fmt.Fprintf(w, "    %s)\n        case $prev in\n", c.name)
		var all []string
		for _, o := range c.options() {
			all = append(all, o.names...)
			if o.value != "" {
				fmt.Fprintf(w, "        %s) %s; return ;;\n", strings.Join(o.names, "|"), bashValue(o.value, o.choice))
			}
		}
		fmt.Fprintf(w, "        esac\n        if [[ $cur == -* ]]; then\n            mapfile -t COMPREPLY < <(compgen -W %s -- \"$cur\")\n", quote(strings.Join(all, " ")))
		fmt.Fprintf(w, "        else\n            %s\n        fi ;;\n", bashValue(c.operands, c.choices[operand]))
	}
	fmt.Fprint(w, "    esac\n}\ncomplete -F _bgevl bgevl\n")
}

// bashValue is the bash command that completes a value.
func bashValue(value string, choice []string) string {
	switch {
	case len(choice) > 0:
		return "mapfile -t COMPREPLY < <(compgen -W " + quote(strings.Join(choice, " ")) + ` -- "$cur")`
	case takesFolder(value):
		return `compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur")`
	case takesFile(value):
		return `compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur")`
	}
	return ":"
}

func zshCompletion(w io.Writer, cs []command) {
	fmt.Fprint(w, `#compdef bgevl
# zsh completion for bgevl: save it as _bgevl in a folder of $fpath
_bgevl() {
    local curcontext="$curcontext" state line
    local -a commands
    commands=(
`)
	for _, c := range cs {
		fmt.Fprintf(w, "        %s\n", quote(c.name+":"+c.summary))
	}
	fmt.Fprint(w, `    )
    _arguments -C \
        '(- *)'{-h,--help}'[show help]' \
        '(- *)'{-v,--version}'[print the version]' \
        '1:command:->command' \
        '*::operand:->operands'
    case $state in
    command) _describe command commands ;;
    operands)
        case $words[1] in
`)
	for _, c := range cs {
		fmt.Fprintf(w, "        %s)\n            _arguments", c.name)
		for _, o := range c.options() {
			fmt.Fprintf(w, " \\\n                %s", zshOption(o))
		}
		if c.operands != "" || len(c.choices[operand]) > 0 {
			fmt.Fprintf(w, " \\\n                %s", quote("*"+zshValue(c.operands, c.choices[operand])))
		}
		fmt.Fprint(w, " ;;\n")
	}
	fmt.Fprint(w, `        esac ;;
    esac
}
if [ "$funcstack[1]" = _bgevl ]; then
    _bgevl "$@"
else
    compdef _bgevl bgevl
fi
`)
}

// zshOption is one argument of zsh's _arguments.
func zshOption(o option) string {
	spell := strings.NewReplacer("[", `\[`, "]", `\]`, ":", `\:`)
	rest := quote("[" + spell.Replace(o.does) + "]" + zshValue(o.value, o.choice))
	head := quote("(" + strings.Join(o.names, " ") + ")")
	if o.many {
		head = quote("*")
	}
	if len(o.names) == 1 {
		return head + o.names[0] + rest
	}
	return head + "{" + strings.Join(o.names, ",") + "}" + rest
}

func zshValue(value string, choice []string) string {
	switch {
	case len(choice) > 0:
		return ":value:(" + strings.Join(choice, " ") + ")"
	case takesFolder(value):
		return ":folder:_files -/"
	case takesFile(value):
		return ":file:_files"
	case value != "":
		return ":" + value + ":"
	}
	return ""
}

func fishCompletion(w io.Writer, cs []command) {
	fmt.Fprint(w, "# fish completion for bgevl\ncomplete -c bgevl -f\n")
	fmt.Fprint(w, "complete -c bgevl -n __fish_use_subcommand -s h -l help -d 'show help'\n")
	fmt.Fprint(w, "complete -c bgevl -n __fish_use_subcommand -s v -l version -d 'print the version'\n")
	for _, c := range cs {
		fmt.Fprintf(w, "complete -c bgevl -n __fish_use_subcommand -a %s -d %s\n", c.name, quote(c.summary))
	}
	for _, c := range cs {
		start := "complete -c bgevl -n '__fish_seen_subcommand_from " + c.name + "'"
		switch {
		case len(c.choices[operand]) > 0:
			fmt.Fprintf(w, "%s -a %s\n", start, quote(strings.Join(c.choices[operand], " ")))
		case takesFolder(c.operands):
			fmt.Fprintf(w, "%s -a '(__fish_complete_directories)'\n", start)
		case takesFile(c.operands):
			fmt.Fprintf(w, "%s -F\n", start)
		}
		for _, o := range c.options() {
			fmt.Fprint(w, start)
			for _, n := range o.names {
				fmt.Fprintf(w, " %s", map[bool]string{true: "-l " + strings.TrimLeft(n, "-"), false: "-s " + strings.TrimLeft(n, "-")}[len(n) > 2])
			}
			fmt.Fprintf(w, "%s -d %s\n", fishValue(o), quote(o.does))
		}
	}
}

func fishValue(o option) string {
	switch {
	case len(o.choice) > 0:
		return " -x -a " + quote(strings.Join(o.choice, " "))
	case takesFolder(o.value):
		return " -x -a '(__fish_complete_directories)'"
	case takesFile(o.value):
		return " -r -F"
	case o.value != "":
		return " -x"
	}
	return ""
}
