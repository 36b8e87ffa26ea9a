package alarm

import (
	"slices"
	"strings"
	"unicode"
)

// unreachable are the beginnings of reasons that are one cause in different moments: a
// server that dies closes the connection first, refuses the next, and may
// not answer at all later; what stands before it takes the next, and hangs up.
var unreachable = []string{"connect to ", "connection lost: ", "no answer within "}

// several is how the reason of a source begins that has several servers, and none
// of which is to be had.
const several = "servers is to be had: "

// reasonClass is the part of a reason that is its cause: not the address, the port,
// the time or the count in it. Words with a digit are left out, but for an LDAP
// result code in brackets; of several servers' reasons the order is.
func reasonClass(reason string) string {
	if _, list, ok := strings.Cut(reason, several); ok {
		var parts []string
		for _, part := range strings.Split(list, "; ") {
			parts = append(parts, reasonClass(part))
		}
		slices.Sort(parts)
		return strings.Join(slices.Compact(parts), "; ")
	}
	if _, rest, ok := strings.Cut(reason, ": "); ok && isAddress(reason[:len(reason)-len(rest)-2]) {
		reason = rest
	}
	for _, start := range unreachable {
		step, _, found := strings.Cut(reason, start)
		if found && (step == "" || strings.HasSuffix(step, ": ") && !slices.ContainsFunc(strings.Fields(step), isCode)) {
			return "unreachable" // and not a server's own words, which stand behind a code
		}
	}
	words := strings.Fields(reason)
	words = slices.DeleteFunc(words, func(w string) bool { return strings.IndexFunc(w, unicode.IsDigit) >= 0 && !isCode(w) })
	return strings.Join(words, " ")
}

// isAddress tells whether a text is a server's host and port, or the path of a socket.
func isAddress(text string) bool {
	at := strings.LastIndexByte(text, ':')
	return !strings.ContainsRune(text, ' ') && (strings.HasPrefix(text, "/") || at > 0 && isNumber(text[at+1:]))
}

// isCode tells whether a word is an LDAP result code: "(49)" or "(49):".
func isCode(word string) bool {
	word = strings.TrimSuffix(word, ":")
	inside, ok := strings.CutPrefix(word, "(")
	inside, closed := strings.CutSuffix(inside, ")")
	return ok && closed && isNumber(inside)
}

func isNumber(text string) bool {
	return text != "" && strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' }) < 0
}
