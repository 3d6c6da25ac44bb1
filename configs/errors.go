package configs

import (
	"fmt"
	"strings"
)

// Mistake is one thing that is wrong with the configuration.
type Mistake struct {
	// Key is the setting's path in the file, or what was written in its place.
	Key string
	// Source says where the value comes from or could be set.
	Source string
	// Message says what is wrong and what would be right.
	Message string
}

// String is the mistake as a line.
func (m Mistake) String() string {
	if m.Source == "" {
		return m.Key + ": " + m.Message
	}
	return fmt.Sprintf("%s (%s): %s", m.Key, m.Source, m.Message)
}

// Errors is every mistake of a configuration; it has at least one.
type Errors []Mistake

// Error lists the mistakes, one a line when there are several.
func (e Errors) Error() string {
	if len(e) == 1 {
		return "the configuration has a mistake: " + e[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the configuration has %d mistakes:", len(e))
	for _, m := range e {
		b.WriteString("\n  " + m.String())
	}
	return b.String()
}
