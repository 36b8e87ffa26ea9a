package ldaptest

import (
	"fmt"
	"strconv"

	"shaft/pkg/ber"
)

// oidPaged is the control of simple paged results (RFC 2696).
const oidPaged = "1.2.840.113556.1.4.319"

// page is the control's value: how many entries are wanted, and the entry
// behind which the page begins. The cookie is that entry's sequence number, so
// that entries may come and go between two pages and none is told twice.
type page struct {
	size  int
	after int
}

func parsePage(value []byte) (*page, error) {
	outer := ber.NewReader(value)
	r, err := outer.Enter(ber.Sequence)
	if err != nil {
		return nil, err
	}
	size, err := r.Int(ber.Integer)
	if err != nil {
		return nil, err
	}
	cookie, err := r.Read(ber.OctetString)
	if err != nil {
		return nil, err
	}
	p := &page{size: int(size)}
	if len(cookie) > 0 {
		if p.after, err = strconv.Atoi(string(cookie)); err != nil {
			return nil, fmt.Errorf("the cookie %q is not ours", cookie)
		}
	}
	return p, nil
}

// holds is how many entries the page may hold under the server's limit, at least 1.
func (p *page) holds(limit int) int {
	if limit > 0 && (p.size <= 0 || p.size > limit) {
		return limit
	}
	return max(p.size, 1)
}

// done is the result of a page, with the cookie of the next one: empty behind
// the last.
func (p *page) done(id int64, f found) []byte {
	cookie := ""
	if f.next > 0 {
		cookie = strconv.Itoa(f.next)
	}
	value, mark := ber.Begin(nil, ber.Sequence)
	value = ber.AppendInt(value, ber.Integer, 0) // how many there are: unknown
	value = ber.AppendString(value, ber.OctetString, cookie)
	value = ber.End(value, mark)

	dst, msg := ber.Begin(nil, ber.Sequence)
	dst = ber.AppendInt(dst, ber.Integer, id)
	dst, body := ber.Begin(dst, opDone)
	dst = ber.AppendInt(dst, ber.Enumerated, int64(f.code))
	dst = ber.AppendString(dst, ber.OctetString, f.matched)
	dst = ber.AppendString(dst, ber.OctetString, "")
	dst = ber.End(dst, body)
	dst, controls := ber.Begin(dst, ber.Context(0))
	dst, one := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendString(dst, ber.OctetString, oidPaged)
	dst = ber.AppendBytes(dst, ber.OctetString, value)
	dst = ber.End(ber.End(ber.End(dst, one), controls), msg)
	return dst
}
