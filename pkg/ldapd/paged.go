package ldapd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
	"shaft/pkg/tree"
)

const (
	// maxPages is how many paged searches a connection may have at rest: each
	// holds a version of the tree in memory. The oldest gives way.
	maxPages = 4
	// pageAge is how long one may rest.
	pageAge = 5 * time.Minute
)

// pagedControl is the simple paged results control of a request (RFC 2696).
type pagedControl struct {
	size   int
	cookie []byte
}

func decodePaged(value []byte) (*pagedControl, error) {
	outer := ber.NewReader(value)
	r, err := outer.Enter(ber.Sequence)
	if err != nil {
		return nil, fmt.Errorf("paged results control: %w", err)
	}
	size, err := r.Int(ber.Integer)
	if err != nil {
		return nil, fmt.Errorf("paged results size: %w", err)
	}
	if size < 0 || size > math.MaxInt32 {
		return nil, errors.New("paged results size is not from 0 to 2147483647")
	}
	cookie, err := r.Read(ber.OctetString)
	if err != nil {
		return nil, fmt.Errorf("paged results cookie: %w", err)
	}
	return &pagedControl{size: int(size), cookie: cookie}, nil
}

// appendPaged adds the control of a reply; the number of entries in all is not
// known, which is 0.
func appendPaged(dst, cookie []byte) []byte {
	value, mark := ber.Begin(nil, ber.Sequence)
	value = ber.AppendInt(value, ber.Integer, 0)
	value = ber.AppendBytes(value, ber.OctetString, cookie)
	value = ber.End(value, mark)
	return appendControl(dst, oidPaged, value)
}

// pages are a connection's paged searches at rest, oldest first. A cookie is
// the number of one; it means nothing on another connection, and nothing once
// it has been used.
type pages struct {
	mu   sync.Mutex
	last uint64
	list []page
}

type page struct {
	cookie uint64
	since  time.Time
	search *search
}

// keep lays a search by and gives its cookie.
func (p *pages) keep(s *search, now time.Time) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) == maxPages {
		p.drop(0)
	}
	switch at := s.cur.(type) {
	case *tree.Cursor:
		at.Rest()
	case *walk:
		if at.cur != nil {
			at.cur.Rest()
		}
	}
	p.last++
	p.list = append(p.list, page{p.last, now, s})
	return binary.BigEndian.AppendUint64(nil, p.last)
}

// resume takes up the search of a cookie, when hash says that the request is
// the same; nil for the empty cookie.
func (p *pages) resume(ctl *pagedControl, hash uint64, now time.Time) (*search, result) {
	if len(ctl.cookie) == 0 {
		return nil, result{}
	}
	if len(ctl.cookie) != 8 {
		return nil, result{code: ldapserver.LDAPResultProtocolError, text: "paged results cookie is not one of this server"}
	}
	p.expire(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	cookie := binary.BigEndian.Uint64(ctl.cookie)
	for i, at := range p.list {
		if at.cookie != cookie {
			continue
		}
		p.drop(i)
		if at.search.hash != hash {
			break
		}
		return at.search, result{}
	}
	return nil, result{code: ldapserver.LDAPResultUnwillingToPerform,
		text: "paged results cookie is unknown, used, expired or of another search; begin again"}
}

// expire drops what has rested too long.
func (p *pages) expire(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.list) > 0 && now.Sub(p.list[0].since) >= pageAge {
		p.drop(0)
	}
}

// clear drops all, as a bind does.
func (p *pages) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = nil
}

func (p *pages) any() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.list) > 0
}

func (p *pages) drop(i int) {
	last := len(p.list) - 1
	copy(p.list[i:], p.list[i+1:])
	p.list[last] = page{} // so that the version can go
	p.list = p.list[:last]
}
