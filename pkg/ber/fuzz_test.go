package ber

import (
	"bytes"
	"testing"
)

// canonical writes everything in b again, entering what is constructed; ok is
// false when b is malformed, or deeper than depth.
func canonical(dst, b []byte, depth int) (out []byte, ok bool) {
	r := NewReader(b)
	for r.More() {
		tag, content, err := r.Any()
		if err != nil {
			return dst, false
		}
		if !tag.Constructed() || depth == 0 {
			dst = AppendBytes(dst, tag, content)
			continue
		}
		var mark int
		dst, mark = Begin(dst, tag)
		if dst, ok = canonical(dst, content, depth-1); !ok {
			return dst, false
		}
		dst = End(dst, mark)
	}
	return dst, true
}

// FuzzCanonical: nothing panics, what is read and written again is never longer,
// reads as the same elements, and stays as it is when written once more.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte{0x30, 0x84, 0, 0, 0, 3, 0x02, 0x01, 0x05})
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Add(sample(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := FrameLen(in, 1<<20)
		if err == nil && n > 0 && n <= len(in) {
			if _, _, rest, err := Next(in); err != nil || len(rest) != len(in)-n {
				t.Fatalf("FrameLen says %d of %d, Next leaves %d, %v", n, len(in), len(rest), err)
			}
		}
		once, ok := canonical(nil, in, 16)
		if !ok {
			return
		}
		if len(once) > len(in) {
			t.Fatalf("%x grew to %x", in, once)
		}
		if twice, ok := canonical(nil, once, 16); !ok || !bytes.Equal(once, twice) {
			t.Fatalf("%x is written as %x, then as %x", in, once, twice)
		}
	})
}

// FuzzScalars: what is written reads back the same, and typed reads of any bytes
// either fail or consume something.
func FuzzScalars(f *testing.F) {
	f.Add(int64(-129), true, []byte("value"), byte(0x85))
	f.Add(int64(1<<40), false, []byte{0x02, 0x09}, byte(0x0a))
	f.Fuzz(func(t *testing.T, i int64, b bool, raw []byte, id byte) {
		tag := Tag(id &^ 1) // never a high tag number
		out := AppendBytes(AppendBool(AppendInt(nil, tag, i), tag, b), tag, raw)
		r := NewReader(out)
		gi, err1 := r.Int(tag)
		gb, err2 := r.Bool(tag)
		gr, err3 := r.Read(tag)
		if gi != i || gb != b || !bytes.Equal(gr, raw) || err1 != nil || err2 != nil || err3 != nil || r.More() {
			t.Fatalf("%d %v %x came back as %d %v %x (%v, %v, %v)", i, b, raw, gi, gb, gr, err1, err2, err3)
		}
		r = NewReader(raw)
		for r.More() {
			before := r.Offset()
			switch r.Peek() {
			case Integer:
				_, err1 = r.Int(Integer)
			case Boolean:
				_, err1 = r.Bool(Boolean)
			case Sequence:
				_, err1 = r.Enter(Sequence)
			default:
				_, _, err1 = r.Raw()
			}
			if err1 != nil {
				return
			}
			if r.Offset() <= before {
				t.Fatal("a read without an error took nothing")
			}
		}
	})
}
