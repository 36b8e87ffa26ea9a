// Package ber reads and writes the BER subset that LDAP uses (RFC 4511
// section 5.1) over byte slices: no reflection, no allocation, nothing kept.
//
// Reading takes slices that alias the input; writing appends to a slice of the
// caller's. Only low tag numbers and definite lengths exist here. Lengths that
// are longer than they need to be (30 84 …) are read, and never written.
//
//	r := ber.NewReader(frame)
//	msg, err := r.Enter(ber.Sequence)
//	id, err := msg.Int(ber.Integer)
//
//	out, mark := ber.Begin(nil, ber.Sequence)
//	out = ber.AppendInt(out, ber.Integer, id)
//	out = ber.End(out, mark)
package ber

// Tag is an identifier octet: class, constructed bit and number (0 to 30).
type Tag byte

// Universal tags that LDAP messages use.
const (
	Boolean     Tag = 0x01
	Integer     Tag = 0x02
	OctetString Tag = 0x04
	Null        Tag = 0x05
	Enumerated  Tag = 0x0a
	Sequence    Tag = 0x30
	Set         Tag = 0x31
)

// Application gives the constructed tag [APPLICATION n]; n is at most 30.
func Application(n byte) Tag { return Tag(0x60 | n) }

// Context gives the constructed context-specific tag [n]; n is at most 30.
func Context(n byte) Tag { return Tag(0xa0 | n) }

// ContextPrimitive gives the primitive context-specific tag [n]; n is at most 30.
func ContextPrimitive(n byte) Tag { return Tag(0x80 | n) }

// Constructed reports whether the content of an element so tagged is elements.
func (t Tag) Constructed() bool { return t&0x20 != 0 }

// maxLengthOctets bounds the long form: 4 octets say up to 4 GiB, far above any
// message that a caller lets through.
const maxLengthOctets = 4

// highTag is the tag number that announces more identifier octets.
const highTag = 0x1f
