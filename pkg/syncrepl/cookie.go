package syncrepl

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Cookie is OpenLDAP's cookie form, rid=NNN[,sid=HHH],csn=A[;B…].
type Cookie struct {
	RID  int
	SID  int // -1: none
	CSNs []string
}

// csnForm is the one form of a CSN: d stands for a decimal digit, h for a hex one.
const csnForm = "dddddddddddddd.ddddddZ#hhhhhh#hhh#hhhhhh"

// Where a CSN's time ends and where its server ID stands.
const csnTime, csnSID, csnSIDEnd = 22, 30, 33

// ParseCookie reads it, the fields in any order, a delcsn= accepted and left
// out; ok is false for any other cookie, which is opaque bytes. A cookie
// without CSNs (rid= alone) says nothing of the content.
func ParseCookie(b []byte) (c Cookie, ok bool) {
	f, ok := splitCookie(b)
	if !ok {
		return Cookie{}, false
	}
	c = Cookie{SID: -1, CSNs: f.csns}
	rid, err := strconv.ParseUint(f.rid, 10, 31)
	if err != nil {
		return Cookie{}, false
	}
	c.RID = int(rid)
	if f.sid != "" {
		sid, err := strconv.ParseUint(f.sid, 16, 12)
		if err != nil {
			return Cookie{}, false
		}
		c.SID = int(sid)
	}
	return c, true
}

// String prints the cookie as OpenLDAP does.
func (c Cookie) String() string {
	f := cookieFields{rid: fmt.Sprintf("%03d", c.RID), csns: c.CSNs}
	if c.SID >= 0 {
		f.sid = fmt.Sprintf("%03x", c.SID)
	}
	return f.String()
}

// MergeCookie joins a persist stage's cookie with the one held: CSNs by server
// ID, the newer wins (slapd with a serverID sends only the one that moved), the
// rid and sid of the one held as they are written there. A cookie of another
// form replaces the held one; an empty one leaves it. The result is a copy.
func MergeCookie(held, got []byte) []byte {
	if emptyCookie(got) {
		return bytes.Clone(held)
	}
	h, ok1 := splitCookie(held)
	g, ok2 := splitCookie(got)
	if !ok1 || !ok2 {
		return bytes.Clone(got)
	}
	bySID := func(a, b string) int { return strings.Compare(a[csnSID:csnSIDEnd], b[csnSID:csnSIDEnd]) }
	csns := slices.Concat(h.csns, g.csns)
	slices.SortFunc(csns, func(a, b string) int {
		if n := bySID(a, b); n != 0 {
			return n
		}
		return strings.Compare(b, a) // the newest of a server first
	})
	h.csns = slices.CompactFunc(csns, func(a, b string) bool { return bySID(a, b) == 0 })
	return []byte(h.String())
}

// olderCookie tells whether a cookie of OpenLDAP's form says less than another one: no CSN
// that is newer, or of another server, and one that is older.
func olderCookie(got, than []byte) bool {
	g, ok1 := splitCookie(got)
	t, ok2 := splitCookie(than)
	if !ok1 || !ok2 {
		return false
	}
	older := false
	for _, csn := range g.csns {
		at := slices.IndexFunc(t.csns, func(c string) bool { return c[csnSID:csnSIDEnd] == csn[csnSID:csnSIDEnd] })
		if at < 0 || csn > t.csns[at] {
			return false
		}
		older = older || csn < t.csns[at]
	}
	return older
}

// sameForm tells whether the cookie that ends a refresh can continue the one that was
// sent. slapd answers some cookies that are not its own with everything, says that what it
// left out stayed, and gives a cookie of its own.
func sameForm(sent, got []byte) bool {
	_, ok1 := splitCookie(sent)
	_, ok2 := splitCookie(got)
	return ok1 == ok2
}

// emptyCookie tells whether a cookie stands for no state: it has no bytes, or
// OpenLDAP's form and no CSN.
func emptyCookie(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	f, ok := splitCookie(b)
	return ok && len(f.csns) == 0
}

// cookieFields are the fields of a cookie as they are written.
type cookieFields struct {
	rid, sid string
	csns     []string
}

func (f cookieFields) String() string {
	s := "rid=" + f.rid
	if f.sid != "" {
		s += ",sid=" + f.sid
	}
	if len(f.csns) > 0 {
		s += ",csn=" + strings.Join(f.csns, ";")
	}
	return s
}

// maxCookie bounds the cookies that are taken apart: 40 octets a CSN and 4096
// server IDs are all that the form can say.
const maxCookie = 64 + 4096*41

func splitCookie(b []byte) (f cookieFields, ok bool) {
	if len(b) > maxCookie {
		return f, false
	}
	seen := map[string]bool{}
	for field := range strings.SplitSeq(string(b), ",") {
		name, value, found := strings.Cut(field, "=")
		if !found || seen[name] {
			return f, false
		}
		seen[name] = true
		switch name {
		case "rid":
			f.rid, ok = value, isDigits(value, 'd', 9)
		case "sid":
			f.sid, ok = value, isDigits(value, 'h', 3)
		case "csn":
			f.csns, ok = splitCSNs(value)
		case "delcsn":
			_, ok = splitCSNs(value)
		default:
			ok = false
		}
		if !ok {
			return f, false
		}
	}
	return f, f.rid != ""
}

func splitCSNs(text string) (csns []string, ok bool) {
	if text == "" {
		return nil, true
	}
	for csn := range strings.SplitSeq(text, ";") {
		if !isForm(csn, csnForm) {
			return nil, false
		}
		csns = append(csns, csn[:csnTime]+strings.ToLower(csn[csnTime:]))
	}
	return csns, true
}

// isDigits tells whether text is 1 to most digits of the kind that isForm names.
func isDigits(text string, kind byte, most int) bool {
	return text != "" && len(text) <= most && isForm(text, strings.Repeat(string(kind), len(text)))
}

func isForm(text, form string) bool {
	if len(text) != len(form) {
		return false
	}
	for i := range len(text) {
		c := text[i]
		switch form[i] {
		case 'd':
			if c < '0' || c > '9' {
				return false
			}
		case 'h':
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return false
			}
		default:
			if c != form[i] {
				return false
			}
		}
	}
	return true
}
