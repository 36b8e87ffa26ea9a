package store

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"shaft/pkg/ber"
)

// A packed value is the number of the words that it was packed with (wordsNumber), its plain length as a uvarint, and parts.
// What looks like an attribute of a search result (PartialAttribute, RFC 4511 section 4.1.7, lengths in as few octets as it
// takes) is packed as one, whatever it means; all else stays as it is.
//
//	packedPlain n bytes      bytes as they are
//	packedName  n bytes set  an attribute of that name
//	code        set          one whose name is a word
//
// A set is one value, or setOf, its length as it stands plain, and values until there is that much. A value:
//
//	0 to longValue-1 bytes   one of that length
//	longValue   n bytes      one of length n
//	valueTail t n bytes      one of n bytes, and the last t of the value before it in the set
//	setRest     n bytes      none: the rest of the set as it is
//	code                     one that is a word
//
// n and t are uvarints.
const (
	packedPlain = 0
	packedName  = 1
	firstName   = 2 // code of the first name among the words

	longValue  = 188
	valueTail  = 189
	setRest    = 190
	setOf      = 191
	firstValue = 192 // code of the first value among the words

	leastPack = 32 // shorter values stay as they are
	packGain  = 16 // and those that would not shrink by that part
	leastTail = 8  // fewer bytes in common with the value before are not looked for

	tagSequence, tagString, tagSet = byte(ber.Sequence), byte(ber.OctetString), byte(ber.Set)
)

// pack appends the packed value to dst; false, and dst as it was, where it is to stay as it is.
func pack(dst, value []byte) ([]byte, bool) {
	if len(value) < leastPack {
		return dst, false
	}
	start := len(dst)
	dst = binary.AppendUvarint(append(dst, wordsNumber), uint64(len(value)))
	done := 0 // of value is in dst
	for at := nextAttribute(value, 0); at >= 0; {
		var size int
		if dst, size = packAttribute(dst, value[done:at], value[at:]); size == 0 {
			at = nextAttribute(value, at+1)
			continue
		}
		if at, done = at+size, at+size; at == len(value) {
			break
		} else if value[at] != tagSequence {
			at = nextAttribute(value, at)
		}
	}
	if done < len(value) {
		dst = appendCounted(append(dst, packedPlain), value[done:])
	}
	if len(dst)-start > len(value)-len(value)/packGain {
		return dst[:start], false
	}
	return dst, true
}

// nextAttribute gives the place, from one on, where an attribute may begin: with a sequence, whose length takes up to 4 octets, and
// in it a string. -1: there is none.
func nextAttribute(value []byte, from int) int {
	for at := from + 2; at < len(value); at++ {
		next := bytes.IndexByte(value[at:], tagString)
		if next < 0 {
			break
		}
		at += next
		if value[at-2] == tagSequence {
			return at - 2
		}
		for octets := 1; octets <= 3 && at-2-octets >= from; octets++ {
			if value[at-2-octets] == tagSequence && int(value[at-1-octets]) == 0x80+octets {
				return at - 2 - octets
			}
		}
	}
	return -1
}

// packAttribute adds what is before an attribute and the one that b begins with, and gives its length; 0: it is none, and nothing
// was added.
func packAttribute(dst, before, b []byte) ([]byte, int) {
	name, value, size := shortAttribute(b)
	var set []byte
	if size == 0 {
		if name, set, size = attributeAt(b); size == 0 {
			return dst, 0
		}
	}
	if len(before) > 0 {
		dst = appendCounted(append(dst, packedPlain), before)
	}
	if code := names.code(name); code != 0 {
		dst = append(dst, code)
	} else {
		dst = appendCounted(append(dst, packedName), name)
	}
	if set != nil {
		return appendSet(dst, set), size
	}
	return appendValue(dst, value), size
}

func appendCounted(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// elementAt gives the content of the element that b begins with, and the length of the element; 0: it has not that tag, is cut off, or its
// length is in more octets than it takes.
func elementAt(b []byte, tag byte) (content []byte, size int) {
	if len(b) < 2 || b[0] != tag {
		return nil, 0
	}
	if n := 2 + int(b[1]); n < 2+0x80 && n <= len(b) {
		return b[2:n], n
	}
	return longElement(b)
}

func longElement(b []byte) (content []byte, size int) {
	octets := int(b[1]) - 0x80
	if octets <= 0 || octets > 4 || len(b) < 2+octets || b[2] == 0 {
		return nil, 0
	}
	n, head := 0, 2+octets
	for _, o := range b[2:head] {
		n = n<<8 | int(o)
	}
	if n < 0x80 || n > len(b)-head {
		return nil, 0
	}
	return b[head : head+n], head + n
}

// shortAttribute gives name and value of the attribute that b begins with, if it has one value and is shorter than 128 bytes, as most are, and
// its length; 0: it is none.
func shortAttribute(b []byte) (name, value []byte, size int) {
	if len(b) < 8 {
		return nil, nil, 0
	}
	n, size := int(b[3]), 2+int(b[1]) // of name and attribute
	v := size - n - 8                 // of value
	if v < 0 || size >= 2+0x80 || size > len(b) || b[0] != tagSequence || b[2] != tagString {
		return nil, nil, 0
	}
	if rest := b[4+n : size : size]; rest[0] == tagSet && int(rest[1]) == v+2 && rest[2] == tagString && int(rest[3]) == v {
		return b[4 : 4+n], rest[4:], size
	}
	return nil, nil, 0
}

// attributeAt gives name and content of the set of the attribute that b begins with, and its length; 0: it is none.
func attributeAt(b []byte) (name, set []byte, size int) {
	attribute, size := elementAt(b, tagSequence)
	if size == 0 {
		return nil, nil, 0
	}
	name, used := elementAt(attribute, tagString)
	if used == 0 {
		return nil, nil, 0
	}
	set, last := elementAt(attribute[used:], tagSet)
	if last == 0 || used+last != len(attribute) {
		return nil, nil, 0
	}
	return name, set, size
}

// appendSet adds what a set is made of.
func appendSet(dst, set []byte) []byte {
	value, size := elementAt(set, tagString)
	if size != 0 && size == len(set) {
		return appendValue(dst, value)
	}
	dst = binary.AppendUvarint(append(dst, setOf), uint64(len(set)))
	var before []byte
	for len(set) > 0 {
		value, size := elementAt(set, tagString)
		if size == 0 {
			return appendCounted(append(dst, setRest), set)
		}
		if tail := commonTail(before, value); tail > 0 {
			dst = binary.AppendUvarint(append(dst, valueTail), uint64(tail))
			dst = appendCounted(dst, value[:len(value)-tail])
		} else {
			dst = appendValue(dst, value)
		}
		before, set = value, set[size:]
	}
	return dst
}

func appendValue(dst, value []byte) []byte {
	if code := values.code(value); code != 0 {
		return append(dst, code)
	}
	if len(value) < longValue {
		return append(append(dst, byte(len(value))), value...)
	}
	return appendCounted(append(dst, longValue), value)
}

// commonTail is how many bytes a and b end with that are the same; 0 if fewer than leastTail.
func commonTail(a, b []byte) int {
	n, most := 0, min(len(a), len(b))
	for ; most-n >= 8; n += 8 {
		x := binary.LittleEndian.Uint64(a[len(a)-n-8:]) ^ binary.LittleEndian.Uint64(b[len(b)-n-8:])
		if x != 0 {
			n += bits.LeadingZeros64(x) / 8
			break
		}
	}
	if n < leastTail {
		return 0
	}
	return n
}
