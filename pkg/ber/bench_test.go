package ber

import "testing"

// sample appends a message shaped as a search result entry of ten attributes.
func sample(dst []byte) []byte {
	dst, msg := Begin(dst, Sequence)
	dst = AppendInt(dst, Integer, 70000)
	dst, op := Begin(dst, Application(4))
	dst = AppendString(dst, OctetString, "cn=slapd,cn=Wheezy,dc=debian,dc=org")
	dst, attrs := Begin(dst, Sequence)
	for range 10 {
		var attr, set int
		dst, attr = Begin(dst, Sequence)
		dst = AppendString(dst, OctetString, "description")
		dst, set = Begin(dst, Set)
		dst = AppendString(dst, OctetString, "a value of a usual length, neither short nor long")
		dst = End(dst, set)
		dst = End(dst, attr)
	}
	dst = End(dst, attrs)
	dst = End(dst, op)
	return End(dst, msg)
}

// walk reads sample's message and counts the octets of its values.
func walk(frame []byte) int {
	outer := NewReader(frame)
	msg, _ := outer.Enter(Sequence)
	if _, err := msg.Int(Integer); err != nil {
		return 0
	}
	op, _ := msg.Enter(Application(4))
	if _, err := op.Read(OctetString); err != nil {
		return 0
	}
	n := 0
	attrs, _ := op.Enter(Sequence)
	for attrs.More() {
		attr, err := attrs.Enter(Sequence)
		if err != nil {
			return 0
		}
		if _, err := attr.Read(OctetString); err != nil {
			return 0
		}
		vals, _ := attr.Enter(Set)
		for vals.More() {
			v, err := vals.Read(OctetString)
			if err != nil {
				return 0
			}
			n += len(v)
		}
	}
	return n
}

func BenchmarkRead(b *testing.B) {
	frame := sample(nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		if walk(frame) == 0 {
			b.Fatal("nothing read")
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	buf := sample(nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		buf = sample(buf[:0])
	}
}

func BenchmarkFrameLen(b *testing.B) {
	frame := sample(nil)
	b.ReportAllocs()
	for b.Loop() {
		if n, err := FrameLen(frame, 1<<20); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}
