package lint

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/manifest"
)

// Severity says what a finding means.
type Severity string

// The severities. What works today is never an [Error].
const (
	Error   Severity = "error"   // the class does not work
	Warning Severity = "warning" // it works, but hardly as it is meant
)

// Finding is one thing that is wrong.
type Finding struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Severity Severity `json:"severity"`
	// Class is NAMESPACE/NAME, or NAME.
	Class string `json:"class,omitempty"`
	// Field is the path of the field in the class.
	Field string `json:"field,omitempty"`
	// Message says what is wrong and what to do.
	Message string `json:"message"`
}

func (f *Finding) String() string {
	field := ""
	if f.Field != "" {
		field = f.Field + ": "
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s%s", f.File, f.Line, f.Column, f.Severity, field, f.Message)
}

// Result is what a check of some files found.
type Result struct {
	Classes  int       `json:"classes"`
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
	Findings []Finding `json:"findings"`
}

// Text writes a line for each finding, and one that counts.
func (r *Result) Text(w io.Writer) error {
	for i := range r.Findings {
		if _, err := fmt.Fprintln(w, r.Findings[i].String()); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s, %s, %s\n", count(r.Classes, "class", "classes"), count(r.Errors, "error", "errors"), count(r.Warnings, "warning", "warnings"))
	return err
}

func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// Check looks at all classes. Findings are in the order of the files.
func Check(classes []*manifest.Class, troubles []manifest.Trouble) *Result {
	r := &Result{Classes: len(classes), Findings: []Finding{}}
	for _, t := range troubles {
		severity := Warning
		if t.Ours {
			severity = Error
		}
		r.Findings = append(r.Findings, Finding{File: t.File, Line: t.Line, Column: t.Column, Severity: severity, Message: t.Text})
	}
	for _, class := range classes {
		c := &checker{class: class, decoded: class.Decode()}
		c.run()
		r.Findings = append(r.Findings, c.found...)
	}
	r.sort()
	for _, f := range r.Findings {
		if f.Severity == Error {
			r.Errors++
		} else {
			r.Warnings++
		}
	}
	return r
}

func (r *Result) sort() {
	order := map[string]int{}
	for _, f := range r.Findings {
		if _, ok := order[f.File]; !ok {
			order[f.File] = len(order)
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	r.Findings = slices.Compact(r.Findings)
}
