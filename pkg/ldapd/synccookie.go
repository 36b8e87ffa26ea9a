package ldapd

import (
	"encoding/hex"
	"fmt"
	"strings"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// The cookies that are given have OpenLDAP's form with one CSN, of this server:
// rid=NNN,csn=… and the rid of the follower. The CSN says up to where the
// follower has every change. Where several messages bring it from one such point to
// the next, those between bear the CSN of the first point with a count that
// grows, and is above 0 wherever the follower has some of what is newer: slapd takes no message whose cookie is not newer than the last.

// startingPoint is what a follower's cookie says.
type startingPoint struct {
	rid     int
	initial bool    // there is no cookie, or one that says nothing of the content
	unknown bool    // the cookie is not one of this server, or of a time to come
	csn     dit.CSN // else: all that changed up to here is there
	between bool    // and some of what changed later
}

// readCookie tells where a follower stands that shows a cookie to a server of
// this ID, whose newest change is newest.
func readCookie(cookie []byte, sid int, newest dit.CSN) startingPoint {
	if len(cookie) == 0 {
		return startingPoint{initial: true}
	}
	c, ok := syncrepl.ParseCookie(cookie)
	at := startingPoint{rid: c.RID, unknown: true}
	if !ok {
		return at
	}
	if len(c.CSNs) == 0 {
		return startingPoint{rid: c.RID, initial: true}
	}
	for _, text := range c.CSNs {
		csn, count, of, _, err := dit.ParseCSN([]byte(text))
		switch {
		case err != nil:
			return startingPoint{rid: c.RID, unknown: true}
		case of == sid && csn <= newest && (at.unknown || csn < at.csn):
			at.csn, at.unknown, at.between = csn, false, count > 0
		case of == sid && csn > newest:
			return startingPoint{rid: c.RID, unknown: true}
		}
	}
	return at
}

// ridPart is how a follower's cookies begin.
func ridPart(rid int) string { return fmt.Sprintf("rid=%03d", rid) }

// maxCount is how far the count of a CSN goes, six hex digits.
const maxCount = 1<<24 - 1

// cookieCSN is what stands before the CSN in a cookie, after the rid.
const cookieCSN = ",csn="

// cookieAt gives the rest of a cookie.
func cookieAt(csn dit.CSN, count uint32, sid int) []byte {
	out := csn.Append([]byte(cookieCSN), sid)
	if count > 0 {
		at := len(out) - len("000000#000#000000")
		n := min(count, maxCount)
		hex.Encode(out[at:], []byte{byte(n >> 16), byte(n >> 8), byte(n)})
	}
	return out
}

// dateSteps gives each step the cookie that it may bear: the newest CSN up to
// which everything has been sent by then, and the version's with the last one.
// Of from, counts up to told were given before.
func dateSteps(steps []step, from, to dit.CSN, sid int, told uint32) [][]byte {
	// rest is the oldest change among the steps that are yet to come.
	rest := make([]dit.CSN, len(steps)+1)
	rest[len(steps)] = to + 1
	for i := len(steps) - 1; i >= 0; i-- {
		rest[i] = min(rest[i+1], max(steps[i].csn, from+1))
	}
	out := make([][]byte, len(steps))
	at, count, sent := from, told, from
	for i := range steps {
		sent = max(sent, steps[i].csn)
		sound := rest[i+1] - 1
		if i < len(steps)-1 && steps[i].csn > at {
			sound = min(sound, steps[i].csn)
		}
		switch {
		case sound <= at:
			count++
		case sent > sound: // the client has some of what is newer, and is to say so
			at, count = sound, 1
		default:
			at, count = sound, 0
		}
		out[i] = cookieAt(at, count, sid)
	}
	return out
}

// inScope tells whether an entry whose DN has a normal form is in the scope of a base.
func inScope(norm, base string, scope tree.Scope) bool {
	if norm == base {
		return scope == tree.Base || scope == tree.Sub
	}
	rest, below := strings.CutSuffix(norm, ","+base)
	switch scope {
	case tree.Base:
		return false
	case tree.One:
		return below && !strings.Contains(rest, ",")
	}
	return below
}
