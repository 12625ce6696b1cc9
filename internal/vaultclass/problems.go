package vaultclass

import (
	"errors"
	"fmt"
	"strings"
)

// maxProblems bounds the text: it ends up in an event of 1024 bytes.
const maxProblems = 8

// Problem is one thing that is wrong with a class, or ignored in it.
type Problem struct {
	// Param is the parameter that it is about.
	Param string
	// Object counts the entries of objects from 0; -1 if it is about none of them.
	Object int
	// Field is that of the object, "" for the object itself.
	Field string
	// Line counts from 1 in the text of the parameter; 0 if it is not known.
	Line int
	// Text says what is wrong, and what to do. Where comes before it in an error.
	Text, Where string
}

// String is the problem as errors and logs have it.
func (p Problem) String() string { return p.Where + p.Text }

// problems collects what is wrong with a class, so that one look at the error
// is enough to mend it.
type problems struct{ list []Problem }

func (p *problems) addf(param, format string, args ...any) {
	p.list = append(p.list, Problem{Param: param, Object: -1, Text: fmt.Sprintf(format, args...)})
}

func (p *problems) err() error {
	var texts []string
	for _, one := range p.list[:min(len(p.list), maxProblems)] {
		texts = append(texts, one.String())
	}
	switch n := len(p.list); {
	case n == 0:
		return nil
	case n > maxProblems:
		texts = append(texts, fmt.Sprintf("and %d more", n-maxProblems))
	}
	return errors.New(strings.Join(texts, "; "))
}

// flaw is what is wrong with a field of an object.
type flaw struct{ field, text string }

// clip shortens text that a class supplied for use in a message.
func clip(text string) string {
	const limit = 100
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "..."
}
