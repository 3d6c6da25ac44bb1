package worker

import "strings"

// Text is the text of an incident as the classifier gets it: the title, then
// the description on a new line. A description that begins with the title is
// taken alone, so that no sentence counts twice.
func Text(title, description string) string {
	if strings.HasPrefix(description, title) {
		return description
	}
	return title + "\n" + description
}
