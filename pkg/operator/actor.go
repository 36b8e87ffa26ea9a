package operator

import (
	"context"
	"unicode"
	"unicode/utf8"
)

// ReasonHeader is the header of a request that says why something is changed;
// it is kept with the task (R47). Its value is UTF-8 text.
const ReasonHeader = "Shaft-Reason"

// maxReason bounds a reason, which every list of tasks shows.
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

func checkReason(text string) error {
	if len(text) > maxReason {
		return invalid("the reason has %d bytes; at most %d are allowed", len(text), maxReason)
	}
	if !utf8.ValidString(text) {
		return invalid("the reason is not UTF-8 text")
	}
	for _, c := range text {
		if !unicode.IsPrint(c) {
			return invalid("the reason is one line of text, without control characters")
		}
	}
	return nil
}
