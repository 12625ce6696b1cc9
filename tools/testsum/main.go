package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is a line of go test -json; see go doc test2json.
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

// summary collects a run. Output is kept until its test is known to have passed.
type summary struct {
	out                     io.Writer
	passed, failed, skipped int
	packagesFailed          int
	output                  map[string][]string
	skips                   []string
}

func main() {
	name := flag.String("name", "go test", "what the closing line is about")
	results := flag.String("results", "", "file to append the closing line to")
	flag.Parse()
	s := &summary{out: os.Stdout, output: map[string][]string{}}
	err := s.read(os.Stdin)
	line := s.close(*name)
	if err == nil && *results != "" {
		err = appendLine(*results, line)
	}
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(2)
	case s.failed+s.packagesFailed > 0:
		os.Exit(1)
	}
}

func (s *summary) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			s.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil {
		fmt.Fprint(s.out, line) // what the go command itself says, not as JSON
		return
	}
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "output":
		s.output[key] = append(s.output[key], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.finishPackage(e, s.output[key])
		} else {
			s.finishTest(e, s.output[key])
		}
		delete(s.output, key)
	}
}

func (s *summary) finishTest(e event, output []string) {
	switch e.Action {
	case "pass":
		s.passed++
	case "skip":
		s.skipped++
		s.skips = append(s.skips, e.Test+": "+reason(output))
	case "fail":
		s.failed++
		fmt.Fprintf(s.out, "--- %s\n%s", e.Package, strings.Join(output, ""))
	}
}

func (s *summary) finishPackage(e event, output []string) {
	switch e.Action {
	case "pass":
		fmt.Fprintf(s.out, "ok    %s  %.1f s\n", e.Package, e.Elapsed)
	case "fail":
		s.packagesFailed++
		s.unfinished(e.Package)
		fmt.Fprintf(s.out, "%sFAIL  %s  %.1f s\n", strings.Join(output, ""), e.Package, e.Elapsed)
	}
}

// unfinished prints the output of tests that a panic or a timeout cut short.
func (s *summary) unfinished(pkg string) {
	for key, output := range s.output {
		if strings.HasPrefix(key, pkg+" ") && key != pkg+" " {
			fmt.Fprint(s.out, strings.Join(output, ""))
			delete(s.output, key)
		}
	}
}

// reason is what t.Skip was given: the last line that go test did not write itself.
func reason(output []string) string {
	for _, line := range slices.Backward(output) {
		text := strings.TrimSpace(line)
		if text != "" && !strings.HasPrefix(text, "---") && !strings.HasPrefix(text, "===") {
			return text
		}
	}
	return "no reason given"
}

func (s *summary) close(name string) string {
	slices.Sort(s.skips)
	for _, skip := range s.skips {
		fmt.Fprintln(s.out, "skip ", skip)
	}
	// A package that does not build has no failed test, and still counts as one.
	failed := max(s.failed, s.packagesFailed)
	line := fmt.Sprintf("%s: %d passed, %d failed, %d skipped", name, s.passed, failed, s.skipped)
	fmt.Fprintln(s.out, line)
	return line
}

func appendLine(file, line string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	return errors.Join(err, f.Close())
}
