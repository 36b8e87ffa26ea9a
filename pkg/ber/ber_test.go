package ber

import (
	"bytes"
	"encoding/hex"
	"math"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFrameLen(t *testing.T) {
	for _, c := range []struct {
		in   string
		max  int
		want int
		err  string
	}{
		{"", 100, 0, ""},
		{"30", 100, 0, ""},
		{"30 00", 100, 2, ""},
		{"30 7f", 200, 129, ""},
		{"30 81", 200, 0, ""},
		{"30 81 80", 200, 131, ""},
		{"30 84 00 00 00", 200, 0, ""},
		{"30 84 00 00 00 05", 200, 11, ""},
		{"30 84 00 01 00 00", 65541, 0, "65542 bytes, more than the 65541"},
		{"30 84 ff ff ff ff", math.MaxInt32, 0, "4294967301 bytes"},
		{"30 05", 7, 7, ""},
		{"30 05", 6, 0, "7 bytes, more than the 6 allowed"},
		{"30 80", 100, 0, "indefinite"},
		{"30 85", 100, 0, "more than 4 octets"},
		{"30 ff", 100, 0, "more than 4 octets"},
		{"3f 01", 100, 0, "tag number above 30"},
		{"1f", 100, 0, "tag number above 30"},
	} {
		got, err := FrameLen(unhex(t, c.in), c.max)
		if got != c.want || !matches(err, c.err) {
			t.Errorf("FrameLen(%s, %d) = %d, %v; want %d, %q", c.in, c.max, got, err, c.want, c.err)
		}
	}
}

// matches tells whether err says part, or is nil when part is empty.
func matches(err error, part string) bool {
	if part == "" {
		return err == nil
	}
	return err != nil && strings.Contains(err.Error(), part)
}

func TestNext(t *testing.T) {
	for _, c := range []struct {
		in, content, rest string
		tag               Tag
		err               string
	}{
		{"04 02 61 62 30 00", "6162", "3000", OctetString, ""},
		{"04 81 01 61", "61", "", OctetString, ""},
		{"04 84 00 00 00 00", "", "", OctetString, ""},
		{"05 00 ff", "", "ff", Null, ""},
		{"", "", "", 0, "cut short"},
		{"04", "", "", 0, "cut short"},
		{"04 02 61", "", "", 0, "cut short"},
		{"04 84 7f ff ff ff 00", "", "", 0, "cut short"},
		{"04 84 ff ff ff ff 00", "", "", 0, "cut short"},
		{"04 80 00 00", "", "", 0, "indefinite"},
	} {
		tag, content, rest, err := Next(unhex(t, c.in))
		if tag != c.tag || !bytes.Equal(content, unhex(t, c.content)) || !bytes.Equal(rest, unhex(t, c.rest)) || !matches(err, c.err) {
			t.Errorf("Next(%s) = %02x, %x, %x, %v", c.in, byte(tag), content, rest, err)
		}
	}
}

// A content that a caller appends to must not run into what follows it.
func TestNextCapsContent(t *testing.T) {
	in := unhex(t, "04 01 61 04 01 62")
	_, content, _, err := Next(in)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(content, 'x', 'x', 'x')
	if !bytes.Equal(in, unhex(t, "04 01 61 04 01 62")) {
		t.Fatalf("appending to a content changed what follows: %x", in)
	}
}

func TestReaderWalk(t *testing.T) {
	in, seq := Begin(nil, Sequence)
	in = AppendInt(in, Integer, 300)
	in = AppendBool(in, Boolean, true)
	in = AppendString(in, ContextPrimitive(7), "dn")
	in, set := Begin(in, Set)
	in = AppendBytes(in, OctetString, []byte("v"))
	in = End(in, set)
	in = End(in, seq)

	outer := NewReader(in)
	r, err := outer.Enter(Sequence)
	if err != nil || outer.More() {
		t.Fatalf("enter: %v, more %v", err, outer.More())
	}
	if n, err := r.Int(Integer); n != 300 || err != nil {
		t.Fatalf("int = %d, %v", n, err)
	}
	if _, ok, err := r.Optional(OctetString); ok || err != nil {
		t.Fatalf("optional took another tag: %v, %v", ok, err)
	}
	if v, err := r.Bool(Boolean); !v || err != nil {
		t.Fatalf("bool = %v, %v", v, err)
	}
	if v, ok, err := r.Optional(ContextPrimitive(7)); string(v) != "dn" || !ok || err != nil {
		t.Fatalf("optional = %q, %v, %v", v, ok, err)
	}
	if r.Peek() != Set || r.Offset() != 13 {
		t.Fatalf("peek = %02x at %d", byte(r.Peek()), r.Offset())
	}
	tag, raw, err := r.Raw()
	if tag != Set || !bytes.Equal(raw, unhex(t, "31 03 04 01 76")) || err != nil {
		t.Fatalf("raw = %02x, %x, %v", byte(tag), raw, err)
	}
	if r.More() || r.Peek() != 0 {
		t.Fatal("more than what was written")
	}
	if _, ok, err := r.Optional(Set); ok || err != nil {
		t.Fatalf("optional at the end: %v, %v", ok, err)
	}
}

func TestReaderErrorsNameTheOffset(t *testing.T) {
	inner := func(r *Reader) (Reader, error) {
		in, err := r.Enter(Sequence)
		if err != nil {
			return Reader{}, err
		}
		_, _, err = in.Any()
		return in, err
	}
	for _, c := range []struct {
		name, in string
		do       func(r *Reader) error
		want     string
	}{
		{"wrong tag", "30 05 04 01 61 02 00", func(r *Reader) error {
			in, err := inner(r)
			if err != nil {
				return err
			}
			_, err = in.Read(OctetString)
			return err
		}, "offset 5: tag 04 wanted, 02 found"},
		{"nothing left", "30 03 04 01 61", func(r *Reader) error {
			in, err := inner(r)
			if err != nil {
				return err
			}
			_, err = in.Int(Integer)
			return err
		}, "offset 5: tag 02 wanted, the content ends here"},
		{"overrun inside", "30 82 00 03 04 05 61", func(r *Reader) error { _, err := inner(r); return err }, "offset 4: element is cut short"},
		{"overrun outside", "30 05 04", func(r *Reader) error { _, err := inner(r); return err }, "offset 0: element is cut short"},
		{"enter wrong tag", "31 00", func(r *Reader) error { _, err := r.Enter(Sequence); return err }, "offset 0: tag 30 wanted, 31 found"},
		{"empty integer", "02 00", func(r *Reader) error { _, err := r.Int(Integer); return err }, "offset 0: integer of 0 octets"},
		{"long integer", "02 09 01 01 01 01 01 01 01 01 01", func(r *Reader) error { _, err := r.Int(Integer); return err }, "integer of 9 octets"},
		{"empty boolean", "01 00", func(r *Reader) error { _, err := r.Bool(Boolean); return err }, "boolean of 0 octets"},
		{"long boolean", "01 02 00 00", func(r *Reader) error { _, err := r.Bool(Boolean); return err }, "boolean of 2 octets"},
		{"boolean of another tag", "02 01 00", func(r *Reader) error { _, err := r.Bool(Boolean); return err }, "tag 01 wanted"},
		{"raw", "04 03 61", func(r *Reader) error { _, _, err := r.Raw(); return err }, "offset 0: element is cut short"},
		{"optional", "04 03 61", func(r *Reader) error { _, _, err := r.Optional(OctetString); return err }, "offset 0: element is cut short"},
	} {
		r := NewReader(unhex(t, c.in))
		if err := c.do(&r); !matches(err, c.want) || err == nil {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// A caller that ignores an error must not be led past the malformed element.
func TestReaderStaysAtAnError(t *testing.T) {
	r := NewReader(unhex(t, "04 7f 61"))
	for range 3 {
		if _, _, err := r.Any(); err == nil {
			t.Fatal("a cut element was taken")
		}
	}
	if !r.More() || r.Offset() != 0 {
		t.Fatalf("the reader moved to %d", r.Offset())
	}
}

func TestIntegers(t *testing.T) {
	for _, v := range []int64{0, 1, -1, 127, 128, -128, -129, 255, 256, 32767, 32768, 65535, 1 << 23, 1<<31 - 1,
		1 << 31, -1 << 31, 1<<55 - 1, 1 << 55, math.MaxInt64, math.MinInt64} {
		b := AppendInt(nil, Integer, v)
		if len(b) > 3 && (b[2] == 0 && b[3] < 0x80 || b[2] == 0xff && b[3] >= 0x80) {
			t.Errorf("%d is not minimal: %x", v, b)
		}
		r := NewReader(b)
		if got, err := r.Int(Integer); got != v || err != nil || r.More() {
			t.Errorf("%d came back as %d, %v", v, got, err)
		}
	}
	for in, want := range map[string]int64{"02 02 00 80": 128, "02 01 80": -128, "02 01 ff": -1, "02 03 00 00 05": 5} {
		r := NewReader(unhex(t, in))
		if got, err := r.Int(Integer); got != want || err != nil {
			t.Errorf("%s = %d, %v", in, got, err)
		}
	}
}

func TestBooleans(t *testing.T) {
	for in, want := range map[string]bool{"01 01 00": false, "01 01 01": true, "01 01 ff": true} {
		r := NewReader(unhex(t, in))
		if got, err := r.Bool(Boolean); got != want || err != nil {
			t.Errorf("%s = %v, %v", in, got, err)
		}
	}
	if got := AppendBool(AppendBool(nil, Boolean, true), ContextPrimitive(1), false); !bytes.Equal(got, unhex(t, "01 01 ff 81 01 00")) {
		t.Errorf("booleans written as %x", got)
	}
}

func TestTags(t *testing.T) {
	if Application(4) != 0x64 || Context(3) != 0xa3 || ContextPrimitive(7) != 0x87 {
		t.Fatalf("tags %02x %02x %02x", byte(Application(4)), byte(Context(3)), byte(ContextPrimitive(7)))
	}
	if !Sequence.Constructed() || !Context(0).Constructed() || OctetString.Constructed() || ContextPrimitive(0).Constructed() {
		t.Fatal("the constructed bit is misread")
	}
}

// Lengths around each step of the long form, written at once and by Begin and End.
func TestLengths(t *testing.T) {
	for _, n := range []int{0, 1, 126, 127, 128, 255, 256, 65535, 65536, 1<<24 - 1, 1 << 24} {
		content := bytes.Repeat([]byte{'x'}, n)
		b := AppendBytes([]byte("before"), OctetString, content)[6:]
		if len(b) != HeaderLen(n)+n {
			t.Errorf("%d bytes of content take %d, HeaderLen says %d", n, len(b)-n, HeaderLen(n))
		}
		open, mark := Begin([]byte("before"), OctetString)
		if got := End(append(open, content...), mark)[6:]; !bytes.Equal(got, b) {
			t.Errorf("%d bytes: Begin and End wrote the header %x, AppendBytes %x", n, got[:6], b[:6])
		}
		if got := AppendString(nil, OctetString, string(content)); !bytes.Equal(got, b) {
			t.Errorf("%d bytes: AppendString differs", n)
		}
		tag, got, rest, err := Next(b)
		if tag != OctetString || !bytes.Equal(got, content) || len(rest) != 0 || err != nil {
			t.Errorf("%d bytes came back as %d, %v", n, len(got), err)
		}
		if f, err := FrameLen(b, len(b)); f != len(b) || err != nil {
			t.Errorf("FrameLen of %d bytes = %d, %v", n, f, err)
		}
	}
}

func TestNestedBegin(t *testing.T) {
	long := strings.Repeat("v", 300)
	b, a := Begin(nil, Sequence)
	b, c := Begin(b, Set)
	b = AppendString(b, OctetString, long)
	b = End(b, c)
	b, c = Begin(b, Set)
	b = End(b, c)
	b = End(b, a)

	want := AppendString(nil, OctetString, long)
	want = AppendBytes(nil, Set, want)
	want = AppendBytes(want, Set, nil)
	want = AppendBytes(nil, Sequence, want)
	if !bytes.Equal(b, want) {
		t.Fatalf("nested elements differ:\n%x\n%x", b, want)
	}
}

func TestNoAllocation(t *testing.T) {
	frame := sample(nil)
	buf := make([]byte, 0, 2*len(frame))
	if n := testing.AllocsPerRun(100, func() {
		if _, err := FrameLen(frame, 1<<20); err != nil {
			t.Fatal(err)
		}
		if walk(frame) == 0 {
			t.Fatal("nothing read")
		}
		buf = sample(buf[:0])
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
