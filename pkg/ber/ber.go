// Package ber reads and writes the BER subset that LDAP uses (RFC 4511
// section 5.1) over byte slices: no reflection, no allocation, nothing kept.
//
// Reading takes slices that alias the input; writing appends to a slice of the
// caller's. Only low tag numbers and definite lengths exist here. Lengths that
// are longer than they need to be (30 84 …) are read, and never written.
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

// Application gives the constructed application tag n ([APPLICATION n]);
// Context and ContextPrimitive the context-specific tags.
func Application(n byte) Tag      { return Tag(0x60 | n) }
func Context(n byte) Tag          { return Tag(0xa0 | n) }
func ContextPrimitive(n byte) Tag { return Tag(0x80 | n) }

// FrameLen tells how long the first element of b is, header included: 0 when b
// does not hold the whole header yet, an error when the header is malformed or
// the element would be longer than max bytes.
func FrameLen(b []byte, max int) (int, error) { panic("todo") }

// Next splits the first element off b.
func Next(b []byte) (tag Tag, content, rest []byte, err error) { panic("todo") }

// Reader walks the elements of one content. The zero Reader is at its end.
// Errors name the offset in the slice that NewReader was given.
type Reader struct {
	buf []byte
	off int // of buf[0] in the outermost slice, for error texts
}

// NewReader reads the elements in b one after the other.
func NewReader(b []byte) Reader { return Reader{buf: b} }

func (r *Reader) More() bool                                            { return len(r.buf) > 0 }
func (r *Reader) Peek() Tag                                             { panic("todo") } // 0 at the end
func (r *Reader) Any() (tag Tag, content []byte, err error)             { panic("todo") }
func (r *Reader) Raw() (tag Tag, element []byte, err error)             { panic("todo") } // header included
func (r *Reader) Read(tag Tag) (content []byte, err error)              { panic("todo") }
func (r *Reader) Enter(tag Tag) (Reader, error)                         { panic("todo") }
func (r *Reader) Int(tag Tag) (int64, error)                            { panic("todo") } // at most 8 octets
func (r *Reader) Bool(tag Tag) (bool, error)                            { panic("todo") } // any octet but 0 is TRUE
func (r *Reader) Optional(tag Tag) (content []byte, ok bool, err error) { panic("todo") }

// HeaderLen is the size of the header of an element with n bytes of content.
func HeaderLen(n int) int { panic("todo") }

// The Append functions add one element to dst and return it.
func AppendHeader(dst []byte, tag Tag, n int) []byte    { panic("todo") }
func AppendBytes(dst []byte, tag Tag, v []byte) []byte  { panic("todo") }
func AppendString(dst []byte, tag Tag, v string) []byte { panic("todo") }
func AppendInt(dst []byte, tag Tag, v int64) []byte     { panic("todo") }
func AppendBool(dst []byte, tag Tag, v bool) []byte     { panic("todo") }

// Begin opens a constructed element whose length is not known yet and End
// closes it, given the mark that Begin returned; they nest.
func Begin(dst []byte, tag Tag) (out []byte, mark int) { panic("todo") }
func End(dst []byte, mark int) []byte                  { panic("todo") }
