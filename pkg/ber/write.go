package ber

// HeaderLen is the size of the header of an element with n bytes of content.
func HeaderLen(n int) int {
	return 2 + lengthOctets(n)
}

// lengthOctets is how many octets follow the first length octet.
func lengthOctets(n int) int {
	switch {
	case n < 0x80:
		return 0
	case n < 1<<8:
		return 1
	case n < 1<<16:
		return 2
	case n < 1<<24:
		return 3
	}
	return 4
}

// AppendHeader adds the header of an element with n bytes of content, which the
// caller adds next; n is below 4 GiB.
func AppendHeader(dst []byte, tag Tag, n int) []byte {
	octets := lengthOctets(n)
	if octets == 0 {
		return append(dst, byte(tag), byte(n))
	}
	dst = append(dst, byte(tag), 0x80|byte(octets))
	for i := octets - 1; i >= 0; i-- {
		dst = append(dst, byte(uint32(n)>>(8*i)))
	}
	return dst
}

// AppendBytes adds an element with the content v.
func AppendBytes(dst []byte, tag Tag, v []byte) []byte {
	return append(AppendHeader(dst, tag, len(v)), v...)
}

// AppendString adds an element with the content v.
func AppendString(dst []byte, tag Tag, v string) []byte {
	return append(AppendHeader(dst, tag, len(v)), v...)
}

// AppendInt adds v in as few octets as hold it.
func AppendInt(dst []byte, tag Tag, v int64) []byte {
	n := 1
	for x := v; x > 127 || x < -128; x >>= 8 {
		n++
	}
	dst = append(dst, byte(tag), byte(n))
	for i := n - 1; i >= 0; i-- {
		dst = append(dst, byte(v>>(8*i)))
	}
	return dst
}

// AppendBool adds v; TRUE is the octet ff (RFC 4511 section 5.1).
func AppendBool(dst []byte, tag Tag, v bool) []byte {
	if v {
		return append(dst, byte(tag), 1, 0xff)
	}
	return append(dst, byte(tag), 1, 0)
}

// Begin opens an element whose length is not known yet and End closes it, given
// the mark that Begin returned; they nest, the last opened is closed first.
func Begin(dst []byte, tag Tag) (out []byte, mark int) {
	dst = append(dst, byte(tag), 0)
	return dst, len(dst)
}

// End closes the element that Begin opened at mark. Content of more than 127
// bytes is moved to make room for its length.
func End(dst []byte, mark int) []byte {
	n := len(dst) - mark
	octets := lengthOctets(n)
	if octets == 0 {
		dst[mark-1] = byte(n)
		return dst
	}
	dst[mark-1] = 0x80 | byte(octets)
	var room [maxLengthOctets]byte
	dst = append(dst, room[:octets]...)
	copy(dst[mark+octets:], dst[mark:mark+n])
	for i := range octets {
		dst[mark+i] = byte(uint32(n) >> (8 * (octets - 1 - i)))
	}
	return dst
}
