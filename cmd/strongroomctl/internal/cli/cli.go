package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// What a process says by its exit code, as grep and diff do.
const (
	exitFine     = 0 // done, and nothing was found
	exitFindings = 1 // done, and something was found
	exitTrouble  = 2 // not done: wrong arguments, or what was asked could not be read
)

// ErrFindings is returned by a command that has printed what it found.
var ErrFindings = errors.New("there are findings")

// usageError is a command line that makes no sense.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// Usagef is the error of a command line that makes no sense. Main says where help is.
func Usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// Command is one thing that the program does. Name has one word or two, as in "explain pod".
type Command struct {
	Name  string
	Args  string // what follows the name, for the usage text: "NS/NAME"
	Short string // what it does, in half a line
	Run   func(ctx context.Context, env *Env, args []string) error
}

// Env is the world as a command sees it.
type Env struct {
	Program  string // how the user called it
	In       io.Reader
	Out, Err io.Writer
	Terminal bool // a person reads Out

	command *Command
	output  string
}

// IsTerminal tells whether a person reads f.
func IsTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// ProgramName is how the user calls the program that runs as path: kubectl runs its plugin
// "kubectl-NAME" as "kubectl NAME".
func ProgramName(path string) string {
	base := strings.TrimSuffix(filepath.Base(path), ".exe")
	if plugin, ok := strings.CutPrefix(base, "kubectl-"); ok {
		return "kubectl " + strings.ReplaceAll(plugin, "_", "-")
	}
	return base
}

// Main runs the command that args name, and returns the exit code.
func Main(ctx context.Context, env *Env, commands []Command, args []string) int {
	if len(args) == 0 {
		usage(env.Err, env.Program, commands)
		return exitTrouble
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		usage(env.Out, env.Program, commands)
		return exitFine
	case "-version", "--version":
		args[0] = "version"
	}
	c, rest := find(commands, args)
	if c == nil {
		fmt.Fprintf(env.Err, "%s: there is no command %q; see %s help\n", env.Program, strings.Join(args[:min(2, len(args))], " "), env.Program)
		return exitTrouble
	}
	env.command = c
	return env.code(c.Run(ctx, env, rest))
}

func (e *Env) code(err error) int {
	var wrong usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitFine
	case errors.Is(err, ErrFindings):
		return exitFindings
	case errors.As(err, &wrong):
		fmt.Fprintf(e.Err, "%s %s: %v; see %[1]s %[2]s -h\n", e.Program, e.command.Name, err)
	default:
		fmt.Fprintf(e.Err, "%s %s: %v\n", e.Program, e.command.Name, err)
	}
	return exitTrouble
}

// find prefers the command of two words.
func find(commands []Command, args []string) (*Command, []string) {
	for n := min(2, len(args)); n > 0; n-- {
		name := strings.Join(args[:n], " ")
		for i := range commands {
			if commands[i].Name == name {
				return &commands[i], args[n:]
			}
		}
	}
	return nil, nil
}

func usage(w io.Writer, program string, commands []Command) {
	fmt.Fprintf(w, "%s looks after the Secrets Store CSI driver.\n\n", program)
	rows := make([][]string, 0, len(commands))
	for _, c := range commands {
		rows = append(rows, []string{"  " + strings.TrimSpace(program+" "+c.Name+" "+c.Args), c.Short})
	}
	_ = Table(w, nil, rows)
	fmt.Fprintf(w, "\nEach command explains its flags with -h. Exit codes: 0 fine, 1 something was found, 2 it could not be done.\n")
}
