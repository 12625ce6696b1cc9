package cli

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
)

// formats of results.
func formats() []string { return []string{"table", "json", "yaml"} }

// Flags is the flag set of the running command, with -o. More flags may be added before Parse.
func (e *Env) Flags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(e.Out)
	e.output = "json"
	if e.Terminal {
		e.output = "table"
	}
	const text = "how to print: table, json or yaml (default: table on a terminal, json elsewhere)"
	fs.Func("o", text, e.setOutput)
	fs.Func("output", "the same as -o", e.setOutput)
	fs.Usage = func() { e.help(fs) }
	return fs
}

func (e *Env) setOutput(value string) error {
	if !slices.Contains(formats(), value) {
		return fmt.Errorf("it is one of %s", strings.Join(formats(), ", "))
	}
	e.output = value
	return nil
}

func (e *Env) help(fs *flag.FlagSet) {
	c := e.command
	if c == nil {
		return
	}
	fmt.Fprintf(fs.Output(), "%s\n\n%s\n\n", strings.TrimSpace(e.Program+" "+c.Name+" "+c.Args), c.Short)
	fs.PrintDefaults()
}

// Parse reads flags wherever they stand among the arguments, and returns the others. There must
// be want of these; less than 0 is any number. What follows "--" is never a flag.
func (e *Env) Parse(fs *flag.FlagSet, args []string, want int) ([]string, error) {
	var rest []string
	for len(args) > 0 {
		if err := parseOnce(fs, args); err != nil {
			return nil, err
		}
		left := fs.Args()
		if stopped := len(args) - len(left); stopped > 0 && args[stopped-1] == "--" {
			rest = append(rest, left...)
			break
		}
		if len(left) == 0 {
			break
		}
		rest, args = append(rest, left[0]), left[1:]
	}
	if want >= 0 && len(rest) != want {
		return nil, Usagef("%d arguments, want %d", len(rest), want)
	}
	return rest, nil
}

// parseOnce has the help printed for those who ask for it, and not for each mistake.
func parseOnce(fs *flag.FlagSet, args []string) error {
	help := fs.Usage
	out := fs.Output()
	asked := slices.ContainsFunc(args, func(a string) bool { return strings.TrimLeft(a, "-") == "h" || strings.TrimLeft(a, "-") == "help" })
	if !asked {
		fs.Usage = func() {}
		fs.SetOutput(discard{})
	}
	err := fs.Parse(args)
	fs.Usage = help
	fs.SetOutput(out)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	return Usagef("%v", err)
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
