package dit

import "fmt"

// SyntaxError is bad text: Column counts bytes from 1.
type SyntaxError struct {
	What   string // "DN", "filter", …
	Text   string
	Column int
	Msg    string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s %q: column %d: %s", e.What, shorten(e.Text), e.Column, e.Msg)
}

// maxErrorText bounds how much of a bad text an error repeats: enough to know
// it again, too little to fill a log.
const maxErrorText = 200

func shorten(text string) string {
	if len(text) > maxErrorText {
		return text[:maxErrorText] + "…"
	}
	return text
}
