package ldapd

import (
	"errors"
	"fmt"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
)

// maxNesting bounds the depth of constructed elements in a message: a filter of
// the depth that package dit takes, plus message, operation and what stands below a filter.
const maxNesting = dit.MaxFilterDepth + 6

// maxControls bounds the controls of one request.
const maxControls = 32

// errNesting is a message deeper than maxNesting. The frame itself is sound as
// far as it was looked at, so that its request can still be answered.
var errNesting = errors.New("nested too deeply")

// maxLengthOctets is what package ber reads.
const maxLengthOctets = 4

// scan walks every element of a message once, without recursion, and tells
// whether the message is also canonical: lengths minimal, TRUE as 0xff.
func scan(b []byte) (canonical bool, err error) {
	var ends [maxNesting]int
	depth, pos, end := 0, 0, len(b)
	canonical = true
	for {
		for pos == end {
			if depth == 0 {
				return canonical, nil
			}
			depth--
			end = ends[depth]
		}
		tag, header, n, err := element(b[pos:end])
		if err != nil {
			return false, fmt.Errorf("%w at offset %d", err, pos)
		}
		canonical = canonical && header == ber.HeaderLen(n)
		pos += header
		if !tag.Constructed() {
			if tag == ber.Boolean && (n != 1 || b[pos] != 0 && b[pos] != 0xff) {
				canonical = false
			}
			pos += n
			continue
		}
		if depth == maxNesting {
			return false, errNesting
		}
		ends[depth] = end
		depth++
		end = pos + n
	}
}

var (
	errTruncated = errors.New("element is longer than what holds it")
	errTag       = errors.New("multi-octet tag")
	errLength    = errors.New("malformed length")
)

// element reads the header of the element that b begins with: its size and the
// length of the content, which lies within b.
func element(b []byte) (tag ber.Tag, header, n int, err error) {
	if len(b) < 2 {
		return 0, 0, 0, errTruncated
	}
	if b[0]&0x1f == 0x1f {
		return 0, 0, 0, errTag
	}
	header, n = 2, int(b[1])
	if n >= 0x80 {
		octets := n & 0x7f
		if octets == 0 || octets > maxLengthOctets {
			return 0, 0, 0, errLength
		}
		header += octets
		if len(b) < header {
			return 0, 0, 0, errTruncated
		}
		n = 0
		for _, o := range b[2:header] {
			n = n<<8 | int(o)
		}
	}
	if n > len(b)-header {
		return 0, 0, 0, errTruncated
	}
	return ber.Tag(b[0]), header, n, nil
}

// appendCanonical copies elements that scan has passed in their canonical form.
func appendCanonical(dst, b []byte) ([]byte, error) {
	for len(b) > 0 {
		tag, content, rest, err := ber.Next(b)
		if err != nil {
			return dst, err
		}
		switch {
		case tag.Constructed():
			var mark int
			dst, mark = ber.Begin(dst, tag)
			if dst, err = appendCanonical(dst, content); err != nil {
				return dst, err
			}
			dst = ber.End(dst, mark)
		case tag == ber.Boolean && len(content) == 1:
			dst = ber.AppendBool(dst, tag, content[0] != 0)
		default:
			dst = ber.AppendBytes(dst, tag, content)
		}
		b = rest
	}
	return dst, nil
}

// request is one LDAPMessage; its slices alias the connection's input buffer
// and are gone with the next message.
type request struct {
	id       int32
	op       ber.Tag
	body     []byte // content of the protocolOp
	controls []byte // content of the controls; nil when there are none
}

const (
	tagUnbind     ber.Tag = 0x42
	tagDelete     ber.Tag = 0x4a
	tagAbandon    ber.Tag = 0x50
	tagBind       ber.Tag = 0x60
	tagSearch     ber.Tag = 0x63
	tagModify     ber.Tag = 0x66
	tagAdd        ber.Tag = 0x68
	tagModifyDN   ber.Tag = 0x6c
	tagCompare    ber.Tag = 0x6e
	tagExtended   ber.Tag = 0x77
	tagEntry      ber.Tag = 0x64
	tagSearchDone ber.Tag = 0x65
	tagReference  ber.Tag = 0x73
	tagExtendedRe ber.Tag = 0x78
)

// response gives the tag of the reply to a request; 0 when there is none
// because op is no request that can be answered.
func response(op ber.Tag) ber.Tag {
	switch op {
	case tagBind, tagModify, tagAdd, tagModifyDN, tagCompare, tagExtended:
		return op + 1
	case tagDelete:
		return 0x6b
	case tagSearch:
		return tagSearchDone
	}
	return 0
}

// decodeRequest reads the envelope (RFC 4511 section 4.1.1).
func decodeRequest(frame []byte) (request, error) {
	var req request
	outer := ber.NewReader(frame)
	r, err := outer.Enter(ber.Sequence)
	if err != nil {
		return req, fmt.Errorf("not an LDAPMessage: %w", err)
	}
	id, err := r.Int(ber.Integer)
	if err != nil {
		return req, fmt.Errorf("message ID: %w", err)
	}
	if id <= 0 || id > 1<<31-1 {
		return req, fmt.Errorf("message ID %d is not from 1 to 2147483647", id)
	}
	req.id = int32(id)
	if req.op, req.body, err = r.Any(); err != nil {
		return req, fmt.Errorf("protocolOp: %w", err)
	}
	if req.op != tagUnbind && req.op != tagAbandon && response(req.op) == 0 {
		return req, fmt.Errorf("protocolOp tag 0x%02x is not of a request", byte(req.op))
	}
	controls, ok, err := r.Optional(ber.Context(0))
	if err != nil {
		return req, fmt.Errorf("controls: %w", err)
	}
	if ok {
		req.controls = controls
	}
	return req, nil
}

// control is one control of a request (RFC 4511 section 4.1.11).
type control struct {
	oid      []byte
	critical bool
	value    []byte
}

// eachControl calls fn for every control until it returns false.
func eachControl(b []byte, fn func(control) bool) error {
	r := ber.NewReader(b)
	for n := 0; r.More(); n++ {
		if n == maxControls {
			return fmt.Errorf("more than %d controls", maxControls)
		}
		seq, err := r.Enter(ber.Sequence)
		if err != nil {
			return fmt.Errorf("control: %w", err)
		}
		var ctl control
		if ctl.oid, err = seq.Read(ber.OctetString); err != nil {
			return fmt.Errorf("control type: %w", err)
		}
		if seq.Peek() == ber.Boolean {
			if ctl.critical, err = seq.Bool(ber.Boolean); err != nil {
				return fmt.Errorf("control criticality: %w", err)
			}
		}
		if ctl.value, _, err = seq.Optional(ber.OctetString); err != nil {
			return fmt.Errorf("control value: %w", err)
		}
		if !fn(ctl) {
			return nil
		}
	}
	return nil
}
