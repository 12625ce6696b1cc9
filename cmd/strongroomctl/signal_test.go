//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"testing"
	"time"
)

// Who types strongroomctl lint - and changes his mind gets out with one Ctrl-C.
func TestSignalEndsReading(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	program := exec.CommandContext(ctx, os.Args[0])
	program.Env = append(os.Environ(), asProgram+"=1")
	in, err := program.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = program.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err = in.Write(bytes.Repeat([]byte("#\n"), 1<<20)); err != nil { // more than a pipe holds, so it reads by now
		t.Fatal(err)
	}
	if err = program.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	_ = program.Wait() // its error is the signal
	if ctx.Err() != nil {
		t.Error("it went on reading")
	}
}
