package ber

import (
	"errors"
	"fmt"
)

var (
	errTruncated  = errors.New("element is cut short")
	errHighTag    = errors.New("tag number above 30")
	errIndefinite = errors.New("indefinite length")
	errLongLength = errors.New("length of more than 4 octets")
)

// header reads the identifier and length octets at the start of b: n is the
// size of the header, 0 when b ends inside it.
func header(b []byte) (n int, length uint32, err error) {
	if len(b) == 0 {
		return 0, 0, nil
	}
	if b[0]&highTag == highTag {
		return 0, 0, errHighTag
	}
	if len(b) == 1 {
		return 0, 0, nil
	}
	if b[1] < 0x80 {
		return 2, uint32(b[1]), nil
	}
	octets := int(b[1] & 0x7f)
	if octets == 0 {
		return 0, 0, errIndefinite
	}
	if octets > maxLengthOctets {
		return 0, 0, errLongLength
	}
	if len(b) < 2+octets {
		return 0, 0, nil
	}
	for _, o := range b[2 : 2+octets] {
		length = length<<8 | uint32(o)
	}
	return 2 + octets, length, nil
}

// FrameLen tells how long the first element of b is, header included: 0 when b
// does not hold the whole header yet, an error when the header is malformed or
// the element would be longer than max bytes.
func FrameLen(b []byte, max int) (int, error) {
	n, length, err := header(b)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, nil
	}
	total := int64(n) + int64(length)
	if total > int64(max) {
		return 0, fmt.Errorf("element of %d bytes, more than the %d allowed", total, max)
	}
	return int(total), nil
}

// Next splits the first element off b. Content and rest alias b; rest is what
// follows the element.
func Next(b []byte) (tag Tag, content, rest []byte, err error) {
	if len(b) >= 2 && b[0]&highTag != highTag && int(b[1]) <= min(len(b)-2, 0x7f) { // nearly all are
		end := 2 + int(b[1])
		return Tag(b[0]), b[2:end:end], b[end:], nil
	}
	n, length, err := header(b)
	if err != nil {
		return 0, nil, nil, err
	}
	if n == 0 || uint64(length) > uint64(len(b)-n) {
		return 0, nil, nil, errTruncated
	}
	end := n + int(length)
	return Tag(b[0]), b[n:end:end], b[end:], nil
}

// Reader walks the elements of one content. The zero Reader is at its end.
// Errors name the offset in the slice that NewReader was given, and leave the
// reader where it was.
type Reader struct {
	buf []byte
	off int // of buf[0] in the outermost slice, for error texts
}

// NewReader reads the elements in b one after the other.
func NewReader(b []byte) Reader { return Reader{buf: b} }

// More reports whether anything follows, well formed or not.
func (r *Reader) More() bool { return len(r.buf) > 0 }

// Offset is where the next element begins, in the slice that NewReader was given.
func (r *Reader) Offset() int { return r.off }

// Peek gives the tag of the next element without taking it: 0 at the end.
func (r *Reader) Peek() Tag {
	if len(r.buf) == 0 {
		return 0
	}
	return Tag(r.buf[0])
}

// take moves over the next element, whose content begins head bytes into it.
func (r *Reader) take() (tag Tag, element []byte, head int, err error) {
	tag, content, rest, err := Next(r.buf)
	if err != nil {
		return 0, nil, 0, fmt.Errorf("offset %d: %w", r.off, err)
	}
	size := len(r.buf) - len(rest)
	element = r.buf[:size:size]
	r.buf = rest
	r.off += size
	return tag, element, size - len(content), nil
}

// Any takes the next element, whatever its tag.
func (r *Reader) Any() (tag Tag, content []byte, err error) {
	tag, element, head, err := r.take()
	if err != nil {
		return 0, nil, err
	}
	return tag, element[head:], nil
}

// Raw takes the next element and gives all of it, header included.
func (r *Reader) Raw() (tag Tag, element []byte, err error) {
	tag, element, _, err = r.take()
	return tag, element, err
}

// Read takes the next element, which must have the tag, and gives its content.
func (r *Reader) Read(tag Tag) (content []byte, err error) {
	if err := r.expect(tag); err != nil {
		return nil, err
	}
	_, content, err = r.Any()
	return content, err
}

func (r *Reader) expect(tag Tag) error {
	if len(r.buf) == 0 {
		return fmt.Errorf("offset %d: tag %02x wanted, the content ends here", r.off, byte(tag))
	}
	if r.Peek() != tag {
		return fmt.Errorf("offset %d: tag %02x wanted, %02x found", r.off, byte(tag), r.buf[0])
	}
	return nil
}

// Enter takes the next element, which must have the tag, and gives a reader of
// its content.
func (r *Reader) Enter(tag Tag) (Reader, error) {
	if err := r.expect(tag); err != nil {
		return Reader{}, err
	}
	start := r.off
	_, element, head, err := r.take()
	if err != nil {
		return Reader{}, err
	}
	return Reader{buf: element[head:], off: start + head}, nil
}

// Int takes the next element as an INTEGER or ENUMERATED of at most 8 octets.
func (r *Reader) Int(tag Tag) (int64, error) {
	start := r.off
	content, err := r.Read(tag)
	if err != nil {
		return 0, err
	}
	if len(content) == 0 || len(content) > 8 {
		return 0, fmt.Errorf("offset %d: integer of %d octets", start, len(content))
	}
	v := int64(int8(content[0]))
	for _, o := range content[1:] {
		v = v<<8 | int64(o)
	}
	return v, nil
}

// Bool takes the next element as a BOOLEAN; any octet but 0 is TRUE.
func (r *Reader) Bool(tag Tag) (bool, error) {
	start := r.off
	content, err := r.Read(tag)
	if err != nil {
		return false, err
	}
	if len(content) != 1 {
		return false, fmt.Errorf("offset %d: boolean of %d octets", start, len(content))
	}
	return content[0] != 0, nil
}

// Optional takes the next element when it has the tag; ok is false, and nothing
// is taken, when it has another one or there is none.
func (r *Reader) Optional(tag Tag) (content []byte, ok bool, err error) {
	if len(r.buf) == 0 || r.Peek() != tag {
		return nil, false, nil
	}
	content, err = r.Read(tag)
	return content, err == nil, err
}
