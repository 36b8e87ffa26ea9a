package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"shaft/pkg/ber"
)

// Tags of RFC 4511 that are needed here.
var (
	searchRequest   = ber.Application(3)
	searchEntry     = ber.Application(4)
	searchDone      = ber.Application(5)
	searchReference = ber.Application(19)
	filterEquality  = ber.Context(3)
	filterSubstring = ber.Context(4)
	filterPresent   = ber.ContextPrimitive(7)
)

const (
	scopeBase = 0
	scopeSub  = 2
)

// query is a search to be sent. Without value the filter is presence of attr.
type query struct {
	base        string
	scope       int64
	attr, value string
	substring   bool     // value is one that an attribute's values contain
	want        []string // attributes; none: all user attributes
}

func everything(base string, scope int64) query {
	return query{base: base, scope: scope, attr: "objectClass"}
}

// appendMessage adds the search as an LDAPMessage.
func (q query) appendMessage(dst []byte, id int64) []byte {
	dst, message := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendInt(dst, ber.Integer, id)
	dst, request := ber.Begin(dst, searchRequest)
	dst = ber.AppendString(dst, ber.OctetString, q.base)
	dst = ber.AppendInt(dst, ber.Enumerated, q.scope)
	dst = ber.AppendInt(dst, ber.Enumerated, 0) // never dereference
	dst = ber.AppendInt(dst, ber.Integer, 0)    // no size limit
	dst = ber.AppendInt(dst, ber.Integer, 0)    // no time limit
	dst = ber.AppendBool(dst, ber.Boolean, false)
	dst = q.appendFilter(dst)
	dst, list := ber.Begin(dst, ber.Sequence)
	for _, attr := range q.want {
		dst = ber.AppendString(dst, ber.OctetString, attr)
	}
	dst = ber.End(dst, list)
	dst = ber.End(dst, request)
	return ber.End(dst, message)
}

func (q query) appendFilter(dst []byte) []byte {
	if q.value == "" {
		return ber.AppendString(dst, filterPresent, q.attr)
	}
	tag := filterEquality
	if q.substring {
		tag = filterSubstring
	}
	dst, mark := ber.Begin(dst, tag)
	dst = ber.AppendString(dst, ber.OctetString, q.attr)
	if q.substring {
		dst = ber.AppendBytes(dst, ber.Sequence, ber.AppendString(nil, ber.ContextPrimitive(1), q.value))
	} else {
		dst = ber.AppendString(dst, ber.OctetString, q.value)
	}
	return ber.End(dst, mark)
}

// reply is what the load generator looks at in a message.
type reply struct {
	tag  ber.Tag
	code int64 // of a searchDone
	op   ber.Reader
}

func parseReply(frame []byte) (reply, error) {
	outer := ber.NewReader(frame)
	message, err := outer.Enter(ber.Sequence)
	if err != nil {
		return reply{}, err
	}
	if _, err := message.Read(ber.Integer); err != nil {
		return reply{}, err
	}
	out := reply{tag: message.Peek()}
	if out.op, err = message.Enter(out.tag); err != nil {
		return reply{}, err
	}
	switch out.tag {
	case searchDone:
		out.code, err = out.op.Int(ber.Enumerated)
		return out, err
	case searchEntry, searchReference:
		return out, nil
	}
	return out, fmt.Errorf("a reply with tag %#x was not asked for", byte(out.tag))
}

// maxReply bounds one message of a server: the entries here have 1 KB.
const maxReply = 1 << 20

// ask runs one search on a connection of its own and calls fn for each entry.
func ask(address string, q query, fn func(ber.Reader) error) error {
	nc, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer nc.Close()
	return newSearcher(nc).ask(q, fn)
}

// searcher runs searches on a connection, one after the other.
type searcher struct {
	nc   net.Conn
	in   *bufio.Reader
	last int64 // message ID
}

func newSearcher(nc net.Conn) *searcher {
	return &searcher{nc: nc, in: bufio.NewReaderSize(nc, maxReply)}
}

// ask runs a search and calls fn for each entry.
func (s *searcher) ask(q query, fn func(ber.Reader) error) error {
	if err := s.nc.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	s.last++
	if _, err := s.nc.Write(q.appendMessage(nil, s.last)); err != nil {
		return err
	}
	for {
		frame, err := nextFrame(s.in)
		if err != nil {
			return err
		}
		r, err := parseReply(frame)
		if err != nil {
			return err
		}
		if r.tag == searchEntry {
			if err := fn(r.op); err != nil {
				return err
			}
		}
		if _, err := s.in.Discard(len(frame)); err != nil {
			return err
		}
		switch {
		case r.tag == searchDone && r.code != 0:
			return fmt.Errorf("search at %q: result %d", q.base, r.code)
		case r.tag == searchDone:
			return nil
		}
	}
}

// nextFrame gives the next message without taking it off.
func nextFrame(in *bufio.Reader) ([]byte, error) {
	const header = 6 // of a message below 4 GiB
	start, err := in.Peek(header)
	if err != nil {
		return nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	n, err := ber.FrameLen(start, maxReply)
	if err != nil {
		return nil, err
	}
	return in.Peek(n)
}

// contextCSN reads the attribute of that name: it says how far a server is.
func contextCSN(address, base string) (csn string, err error) {
	q := everything(base, scopeBase)
	q.want = []string{"contextCSN"}
	err = ask(address, q, func(entry ber.Reader) error {
		csn, err = oneValue(entry)
		return err
	})
	return csn, err
}

// oneValue gives the first value of an entry's first attribute; "": it has none.
func oneValue(entry ber.Reader) (string, error) {
	if _, err := entry.Read(ber.OctetString); err != nil { // its DN
		return "", err
	}
	list, err := entry.Enter(ber.Sequence)
	if err != nil || !list.More() {
		return "", err
	}
	attr, err := list.Enter(ber.Sequence)
	if err != nil {
		return "", err
	}
	if _, err := attr.Read(ber.OctetString); err != nil { // its name
		return "", err
	}
	values, err := attr.Enter(ber.Set)
	if err != nil {
		return "", err
	}
	value, err := values.Read(ber.OctetString)
	return string(value), err
}

// countEntries counts what is at base and below.
func countEntries(address, base string) (n int, err error) {
	q := everything(base, scopeSub)
	q.want = []string{"1.1"}
	err = ask(address, q, func(ber.Reader) error { n++; return nil })
	return n, err
}
