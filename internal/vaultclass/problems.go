package vaultclass

import (
	"errors"
	"fmt"
	"strings"
)

// maxProblems bounds the text: it ends up in an event of 1024 bytes.
const maxProblems = 8

// problems collects what is wrong with a class, so that one look at the error
// is enough to mend it.
type problems struct{ texts []string }

func (p *problems) addf(format string, args ...any) {
	p.texts = append(p.texts, fmt.Sprintf(format, args...))
}

func (p *problems) err() error {
	switch n := len(p.texts); {
	case n == 0:
		return nil
	case n > maxProblems:
		more := fmt.Sprintf("and %d more", n-maxProblems)
		return errors.New(strings.Join(append(p.texts[:maxProblems:maxProblems], more), "; "))
	}
	return errors.New(strings.Join(p.texts, "; "))
}

// clip shortens text that a class supplied for use in a message.
func clip(text string) string {
	const limit = 100
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "..."
}
