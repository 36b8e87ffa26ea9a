package operator

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ReasonHeader is the header of a request that says why something is changed;
// it is kept with the task (R47). Its value is UTF-8 text.
const ReasonHeader = "Shaft-Reason"

// maxReason bounds a reason, in bytes: each of the tasks that are kept has one.
const maxReason = 1 << 10

type peerKey struct{}

// WithPeer marks a connection's context with who is at its other end, in words:
// "uid 0 (root) over the control socket". who is called for requests that change
// something, on their goroutines.
func WithPeer(ctx context.Context, who func() string) context.Context {
	return context.WithValue(ctx, peerKey{}, who)
}

// peerOf names the other end.
func peerOf(ctx context.Context) string {
	if who, ok := ctx.Value(peerKey{}).(func() string); ok {
		return who()
	}
	return "someone unknown"
}

func checkReason(text string) error { return checkLine("the reason", text, maxReason) }

// checkLine refuses what is not one printable line of at most so many bytes.
func checkLine(what, text string, most int) error {
	switch {
	case len(text) > most:
		return invalid("%s has %d bytes; at most %d are allowed", what, len(text), most)
	case !utf8.ValidString(text):
		return invalid("%s is not UTF-8 text", what)
	case strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }):
		return invalid("%s is one line of text, without control characters", what)
	}
	return nil
}
