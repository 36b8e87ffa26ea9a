package dit

import (
	"fmt"
	"time"
)

// CSN is a change sequence number of ours: microseconds since 1970, strictly
// increasing, one for each change. With a server ID it prints in OpenLDAP's
// form (draft-chu-ldap-csn): YYYYMMDDhhmmss.ffffffZ#000000#sss#000000, the
// three last fields in hex.
type CSN uint64

const (
	csnTime = "20060102150405.000000Z"
	csnLen  = len(csnTime) + len("#000000#000#000000")
)

// CSNAt is the first CSN of t's microsecond; 0 for a time before 1970.
func CSNAt(t time.Time) CSN { return CSN(max(0, t.UnixMicro())) }

// Time is the time of the change, in UTC.
func (c CSN) Time() time.Time { return time.UnixMicro(int64(c)).UTC() }

// Append appends OpenLDAP's form; sid is the server ID, 0 to 0xfff.
func (c CSN) Append(dst []byte, sid int) []byte {
	dst = c.Time().AppendFormat(dst, csnTime)
	dst = append(dst, "#000000#"...)
	dst = append(dst, hexDigits[sid>>8&15], hexDigits[sid>>4&15], hexDigits[sid&15])
	return append(dst, "#000000"...)
}

// ParseCSN reads the form above, of any server: its time, count, sid and mod.
// Every field must have its full width.
func ParseCSN(text []byte) (c CSN, count, sid, mod int, err error) {
	fail := func(msg string) (CSN, int, int, int, error) {
		return 0, 0, 0, 0, fmt.Errorf("CSN %q: %s", shorten(string(text)), msg)
	}
	if len(text) != csnLen {
		return fail(fmt.Sprintf("%d characters, expected %d", len(text), csnLen))
	}
	t, ok := parseCSNTime(text[:len(csnTime)])
	if !ok {
		return fail("the time is not YYYYMMDDhhmmss.ffffffZ of 1970 or later")
	}
	rest := text[len(csnTime):]
	if rest[0] != '#' || rest[7] != '#' || rest[11] != '#' {
		return fail("expected #count#sid#mod behind the time")
	}
	count, sid, mod = hexNumber(rest[1:7]), hexNumber(rest[8:11]), hexNumber(rest[12:])
	if count < 0 || sid < 0 || mod < 0 {
		return fail("count, sid and mod are hex digits")
	}
	return t, count, sid, mod, nil
}

// parseCSNTime reads a csnTime; a date that no calendar has is refused.
func parseCSNTime(b []byte) (CSN, bool) {
	if b[14] != '.' || b[21] != 'Z' {
		return 0, false
	}
	var f [7]int
	at := 0
	for i, width := range [7]int{4, 2, 2, 2, 2, 2, 6} {
		if i == 6 {
			at++
		}
		for _, c := range b[at : at+width] {
			if c < '0' || c > '9' {
				return 0, false
			}
			f[i] = f[i]*10 + int(c-'0')
		}
		at += width
	}
	t := time.Date(f[0], time.Month(f[1]), f[2], f[3], f[4], f[5], f[6]*1000, time.UTC)
	same := t.Month() == time.Month(f[1]) && t.Day() == f[2] && t.Hour() == f[3] && t.Minute() == f[4] && t.Second() == f[5]
	return CSNAt(t), same && t.Year() >= 1970
}

// hexNumber reads hex digits; -1 when one is none.
func hexNumber(b []byte) int {
	n := 0
	for _, c := range b {
		d := unhex(c)
		if d < 0 {
			return -1
		}
		n = n<<4 | d
	}
	return n
}
