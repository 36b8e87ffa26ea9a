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
// "root (uid 0)".
func WithPeer(ctx context.Context, who string) context.Context {
	return context.WithValue(ctx, peerKey{}, who)
}

func peerOf(ctx context.Context) string {
	who, _ := ctx.Value(peerKey{}).(string)
	return who
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
