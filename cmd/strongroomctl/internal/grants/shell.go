package grants

import (
	"regexp"
	"strings"
)

// quote makes one word of a text for a shell.
func quote(text string) string {
	if regexp.MustCompile(`^[A-Za-z0-9_./:@%+=,-]+$`).MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// literal is the value of a parameter of the vault program, which reads a file for one that
// begins with an @.
func literal(text string) string {
	if strings.HasPrefix(text, "@") {
		text = `\` + text
	}
	return quote(text)
}

// command joins words into lines of readable length.
func command(words ...string) string {
	const width = 110
	var out strings.Builder
	line := 0
	for i, word := range words {
		switch {
		case i > 0 && line+len(word) > width:
			out.WriteString(" \\\n  ")
			line = 2
		case i > 0:
			out.WriteString(" ")
			line++
		}
		out.WriteString(word)
		line += len(word)
	}
	return out.String()
}

// oneLine keeps a text of a class within its comment.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
