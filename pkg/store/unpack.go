package store

import (
	"encoding/binary"

	"shaft/pkg/ber"
)

const (
	shortValue = 32 // length of the values that short takes
	mostFrame  = 2 + mostWord + 1
	mostShort  = 2 + mostFrame + 3 + shortValue // what short writes at most
)

// unpacked is a value that is being put together.
type unpacked struct {
	src   []byte // still to be read
	value []byte
	size  int  // that value is to have
	bad   bool // src is not in the form
}

// unpack gives the plain value, in room if that is large enough. What is not in the form is an errForm, and takes no more than MaxValue.
func unpack(room, src []byte) ([]byte, error) {
	if len(src) == 0 || src[0] != wordsNumber {
		return nil, errForm
	}
	size, used := binary.Uvarint(src[1:])
	if used <= 0 || size > MaxValue {
		return nil, errForm
	}
	if need := int(size) + mostShort; cap(room) < need {
		room = make([]byte, 0, need)
	}
	u := unpacked{src: src[1+used:], value: room[:0], size: int(size)}
	for len(u.src) > 0 && !u.bad {
		if !u.short() {
			u.part()
		}
	}
	if u.bad || len(u.value) != u.size {
		return nil, errForm
	}
	return u.value, nil
}

// short adds an attribute whose name is a word, if it has one short value; false where it is another, or
// near an end: it copies more than there is, which is faster than to copy just that.
func (u *unpacked) short() bool {
	if len(u.src) < 2+shortValue {
		return false
	}
	i, n := int(u.src[0])-firstName, int(u.src[1])
	if i < 0 || i >= len(frames) || n > shortValue {
		return false
	}
	f, at := &frames[i], len(u.value)
	size := 2 + f.size + 3 + n
	if size > u.size-at || mostShort > cap(u.value)-at {
		return false
	}
	b := u.value[at : at+mostShort]
	b[0], b[1] = tagSequence, byte(size-2)
	*(*[mostFrame]byte)(b[2:]) = f.text
	b = b[2+f.size:]
	b[0], b[1], b[2] = byte(n+2), tagString, byte(n)
	*(*[shortValue]byte)(b[3:]) = *(*[shortValue]byte)(u.src[2:])
	u.value, u.src = u.value[:at+size], u.src[2+n:]
	return true
}

func (u *unpacked) part() {
	switch code := u.code(); {
	case code == packedPlain:
		u.add(u.counted())
	case code == packedName:
		u.attribute(u.counted())
	default:
		u.attribute(u.word(names, code))
	}
}

// attribute adds one, its set next.
func (u *unpacked) attribute(name []byte) {
	code := u.code()
	var value []byte
	var n int // length of the set
	if code == setOf {
		n = u.number()
	} else {
		value = u.one(code)
		n = ber.HeaderLen(len(value)) + len(value)
	}
	u.head(tagSequence, ber.HeaderLen(len(name))+len(name)+ber.HeaderLen(n)+n)
	u.element(tagString, name)
	u.head(tagSet, n)
	if code == setOf {
		u.set(n)
		return
	}
	u.element(tagString, value)
}

// set adds what a set of that length is made of.
func (u *unpacked) set(n int) {
	end := len(u.value) + n
	before := 0 // length of the value that was added last
	for len(u.value) < end && !u.bad {
		switch code := u.code(); code {
		case valueTail:
			tail := u.number()
			value := u.counted()
			if tail > before {
				u.bad = true
				return
			}
			at := len(u.value)
			u.head(tagString, len(value)+tail)
			u.add(value)
			u.add(u.value[at-tail : at])
			before = len(value) + tail
		case setRest:
			u.add(u.counted())
			u.bad = u.bad || len(u.value) != end
		default:
			value := u.one(code)
			u.element(tagString, value)
			before = len(value)
		}
	}
	u.bad = u.bad || len(u.value) != end
}

// one gives a value of which code is the first byte.
func (u *unpacked) one(code byte) []byte {
	switch {
	case code < longValue:
		return u.take(int(code))
	case code == longValue:
		return u.counted()
	}
	return u.word(values, code)
}

func (u *unpacked) word(of *wordList, code byte) []byte {
	if code < of.first || int(code-of.first) >= len(of.words) {
		u.bad = true
		return nil
	}
	return of.words[code-of.first]
}

// code reads a byte; where there is none it gives what is bad as any code, since it needs something behind it.
func (u *unpacked) code() byte {
	if len(u.src) == 0 {
		u.bad = true
		return packedPlain
	}
	code := u.src[0]
	u.src = u.src[1:]
	return code
}

// number reads a uvarint.
func (u *unpacked) number() int {
	n, used := binary.Uvarint(u.src)
	if used <= 0 || n > MaxValue {
		u.bad = true
		return 0
	}
	u.src = u.src[used:]
	return int(n)
}

// take reads that many bytes.
func (u *unpacked) take(n int) []byte {
	if n > len(u.src) {
		u.bad = true
		return nil
	}
	b := u.src[:n]
	u.src = u.src[n:]
	return b
}

func (u *unpacked) counted() []byte { return u.take(u.number()) }

// add adds bytes, if there are to be so many.
func (u *unpacked) add(b []byte) {
	if u.bad || len(b) > u.size-len(u.value) {
		u.bad = true
		return
	}
	u.value = append(u.value, b...)
}

// head adds tag and length of an element, which has to fit.
func (u *unpacked) head(tag byte, n int) {
	if u.bad || ber.HeaderLen(n)+n > u.size-len(u.value) {
		u.bad = true
		return
	}
	u.value = ber.AppendHeader(u.value, ber.Tag(tag), n)
}

func (u *unpacked) element(tag byte, content []byte) {
	u.head(tag, len(content))
	u.add(content)
}
