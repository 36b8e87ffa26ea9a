package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
)

func sampleMany(s sampleKind, n int) (out [][]byte) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		out = append(out, s.entry(r, i))
	}
	return out
}

// samplesAll are a few values of each kind.
func samplesAll(each int) (out [][]byte) {
	for _, s := range samples {
		out = append(out, sampleMany(s, each)...)
	}
	return out
}

// packs packs a value behind something else, and unpacks it again.
func packs(t *testing.T, name string, value []byte) (packed []byte, ok bool) {
	t.Helper()
	before := []byte("before")
	packed, ok = pack(before, value)
	if packed = bytes.TrimPrefix(packed, before); !ok {
		if len(packed) > 0 {
			t.Errorf("%s: %d bytes are left of what was not packed", name, len(packed))
		}
		return value, false
	}
	if len(packed) > len(value)-len(value)/packGain {
		t.Errorf("%s: %d bytes are packed into %d", name, len(value), len(packed))
	}
	for _, room := range [][]byte{nil, make([]byte, 5, 40), make([]byte, 9000)} {
		if got, err := unpack(room, packed); err != nil || !bytes.Equal(got, value) {
			t.Errorf("%s: %x comes back as %x, %v", name, value, got, err)
		}
	}
	return packed, true
}

// Entries of all kinds come back as they were, and take a part of the room that they took.
func TestPackSamples(t *testing.T) {
	percent := []int{60, 65, 52, 65, 58, 45, 100}
	for k, s := range samples {
		plain, sum := 0, 0
		for _, value := range sampleMany(s, 200) {
			packed, _ := packs(t, s.name, value)
			plain, sum = plain+len(value), sum+len(packed)
		}
		if got := sum * 100 / plain; got > percent[k] {
			t.Errorf("%s: %d percent of %d bytes are left, more than %d", s.name, got, plain/200, percent[k])
		}
	}
}

// What is no attribute, or an odd one, comes back too.
func TestPackOddities(t *testing.T) {
	attr := func(name string, values ...string) string { return string(dit.AppendAttr(nil, name, values...)) }
	people := attr("objectClass", "top", "person") + attr("uid", "somebody")
	long := strings.Repeat("x", longValue)
	for name, c := range map[string]struct {
		value string
		packs bool
	}{
		"nothing":                       {"", false},
		"an attribute, but short":       {attr("uid", "x"), false},
		"only attributes":               {people, true},
		"text around":                   {"some text " + people + " and more \x04 of it \x30\x04", true},
		"text that is longer":           {strings.Repeat("some text ", 99) + people, false},
		"tags":                          {strings.Repeat("\x30", 40) + strings.Repeat("\x04", 40) + people, true},
		"values of all lengths":         {people + attr("cn", "", "a", long[1:], long, long+"x", strings.Repeat("y", 256), strings.Repeat("z", 70_000)) + strings.Repeat(people, 300), true},
		"one long value":                {attr("description", long) + strings.Repeat(people, 3), true},
		"no value":                      {people + "\x30\x07\x04\x03foo\x31\x00" + people, true},
		"no name":                       {people + "\x30\x05\x04\x00\x31\x01x" + people, true},
		"a name that is no word":        {people + attr("frobnication;x-long-option;lang-de-at", "word", "TRUE") + people, true},
		"a set of something else":       {people + "\x30\x0b\x04\x02cn\x31\x05\x04\x01a\x02\x00" + people, true},
		"a value that is cut off":       {people + "\x30\x0b\x04\x02cn\x31\x05\x04\x01a\x04\x09" + people, true},
		"a set that is cut off":         {people + "\x30\x0b\x04\x02cn\x31\x06\x04\x01a\x04\x09" + people, true},
		"a length that is too long":     {people + "\x30\x81\x0b\x04\x02cn\x31\x05\x04\x03abc" + people, true},
		"one of a set":                  {people + "\x30\x0a\x04\x02cn\x31\x81\x03\x04\x01a" + people, true},
		"one with zeros":                {people + "\x30\x82\x00\x90\x04\x02cn" + people, true},
		"one of five octets":            {people + "\x30\x85\x01\x01\x01\x01\x01\x04\x02cn" + people, true},
		"one without end":               {people + "\x30\x84\xff\xff\xff\xff\x04\x02cn" + people, true},
		"something behind the set":      {people + "\x30\x0c\x04\x02cn\x31\x03\x04\x01a\x04\x01b" + people, true},
		"cut off":                       {people + people[:len(people)-3], true},
		"values that end alike":         {attr("member", "uid=a,dc=x,dc=example", "uid=bc,dc=x,dc=example", ",dc=x,dc=example", "dc=x,dc=example", "dc=x,dc=example", "example", "uid=a,dc=x,dc=exampl"), true},
		"a value that is a word, alike": {attr("objectClass", "organizationalPerson", "xyzorganizationalPerson", "organizationalPerson", "person", "top"), true},
	} {
		if _, ok := packs(t, name, []byte(c.value)); ok != c.packs {
			t.Errorf("%s: packed: %v", name, ok)
		}
	}
}

// What was packed and is damaged is refused, or is another value of that size: no damage costs more than that.
func TestUnpackDamaged(t *testing.T) {
	for _, value := range samplesAll(1) {
		packed, ok := pack(nil, value)
		if !ok {
			continue
		}
		for i := range packed {
			if _, err := unpack(nil, packed[:i]); !errors.Is(err, errForm) {
				t.Fatalf("the first %d of %d bytes: %v", i, len(packed), err)
			}
		}
		size, head := binary.Uvarint(packed[1:])
		room := make([]byte, 0, int(size)+mostShort)
		for bit := 8 * (1 + head); bit < 8*min(len(packed), 300); bit++ {
			turn(packed, bit)
			if got, err := unpack(room, packed); err == nil && len(got) != int(size) || err != nil && got != nil {
				t.Fatalf("bit %d: %d bytes, %v", bit, len(got), err)
			}
			turn(packed, bit)
		}
		if _, err := unpack(nil, append(packed, packedPlain, 0)); err != nil {
			t.Errorf("an empty part: %v", err)
		}
		if _, err := unpack(nil, append(packed, packedPlain, 1, 'x')); err == nil {
			t.Error("a byte too many")
		}
	}
}

func TestUnpackRefuses(t *testing.T) {
	uid := string(names.code([]byte("uid")))
	top := string(values.code([]byte("top")))
	for name, c := range map[string]string{
		"nothing":                   "",
		"words of another number":   "\x02\x00",
		"no size":                   "\x01",
		"a size without end":        "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"a size above all":          "\x01" + string(binary.AppendUvarint(nil, MaxValue+1)),
		"nothing of a size":         "\x01\x05",
		"a part without length":     "\x01\x05\x00",
		"bytes too few":             "\x01\x05\x00\x06xxxxx",
		"bytes too many":            "\x01\x05\x00\x06xxxxxx",
		"a length above all":        "\x01\x05\x00\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"no such name":              "\x01\x0b\xff\x01x",
		"a name without set":        "\x01\x0b" + uid,
		"no such value":             "\x01\x0b" + uid + "\xff\xff",
		"the end of no value":       "\x01\x12" + uid + "\xbf\x0b\x01x\xbd\x08\x00",
		"an end of too much":        "\x01\x20" + uid + "\xbf\x0b\x01x\xbd\x08\x00",
		"a set that is one's end":   "\x01\x20" + uid + "\xbd\x08\x00",
		"a rest that is one":        "\x01\x20" + uid + "\xbe\x01x",
		"a set above the size":      "\x01\x0c" + uid + "\xbf\x20" + top,
		"a set of less":             "\x01\x20" + uid + "\xbf\x04" + top,
		"a rest of less":            "\x01\x20" + uid + "\xbf\x09" + top + "\xbe\x01x",
		"a rest of nothing, often":  "\x01\x20" + uid + "\xbf\x09" + strings.Repeat("\xbe\x00", 50),
		"a name above the size":     "\x01\x05\x01\x20" + strings.Repeat("n", 32) + "\x01x",
		"a value above the size":    "\x01\x0a" + uid + "\x20" + strings.Repeat("n", 60),
		"a value that is cut off":   "\x01\x40" + uid + "\x20" + strings.Repeat("n", 31),
		"a long one that is":        "\x01\x40" + uid + "\xbc\x20" + strings.Repeat("n", 31),
		"a word above the size":     "\x01\x05" + uid + top,
		"a set without length":      "\x01\x40" + uid + "\xbf",
		"a set with a length alone": "\x01\x40" + uid + "\xbf\x05",
	} {
		if got, err := unpack(nil, []byte(c)); !errors.Is(err, errForm) || got != nil {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	if got, err := unpack(nil, []byte("\x01\x0c"+uid+"\x01x")); err != nil || string(got) != "\x30\x0a\x04\x03uid\x31\x03\x04\x01x" {
		t.Errorf("%x, %v", got, err)
	}
}

// Words have a code each, and are those with which packed values were written.
func TestWords(t *testing.T) {
	h := xxhash.New()
	for _, w := range []*wordList{names, values} {
		if len(w.words)+int(w.first) > 256 {
			t.Errorf("%d words from code %d on", len(w.words), w.first)
		}
		for i, word := range w.words {
			if len(word) > mostWord || int(w.code(word)) != int(w.first)+i {
				t.Errorf("word %d, %q: code %d", i, word, w.code(word))
			}
			h.Write(append(word, '\n'))
		}
		for _, other := range []string{"", "x", "tops", "UID", "objectclass", strings.Repeat("x", mostWord+1)} {
			if c := w.code([]byte(other)); c != 0 {
				t.Errorf("%q has code %d", other, c)
			}
		}
	}
	if got, want := h.Sum64(), uint64(0x80ea3f26a654f4b0); got != want {
		t.Errorf("words of number %d are others now: %#x", wordsNumber, got)
	}
	for i, f := range frames {
		if want := ber.AppendBytes(nil, ber.OctetString, names.words[i]); !bytes.Equal(f.text[:f.size], append(want, tagSet)) {
			t.Errorf("%s: %x", names.words[i], f.text[:f.size])
		}
	}
}

// FuzzPack: what is packed comes back; what claims to be packed is refused, or has the size that it names.
func FuzzPack(f *testing.F) {
	for _, value := range samplesAll(2) {
		f.Add(value)
		if packed, ok := pack(nil, value); ok {
			f.Add(packed)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		packs(t, "any bytes", data)
		if len(data) == 0 || data[0] != wordsNumber {
			data = append([]byte{wordsNumber}, data...)
		}
		if size, _ := binary.Uvarint(data[1:]); size > 1<<20 {
			return // memory alone
		} else if got, err := unpack(nil, data); err == nil && uint64(len(got)) != size {
			t.Errorf("%d bytes, %d named", len(got), size)
		}
	})
}

func BenchmarkPack(b *testing.B) {
	for _, s := range samples {
		all := sampleMany(s, 10_000)
		packed := make([][]byte, len(all))
		plain, sum := 0, 0
		for i, value := range all {
			packed[i] = appendContent(nil, stamp{kind: stampOrdinal}, value)
			plain, sum = plain+len(value), sum+len(packed[i])
		}
		room := make([]byte, 0, 64<<10)
		b.Run(s.name+"/pack", func(b *testing.B) {
			b.ReportMetric(float64(plain)/float64(len(all)), "B/plain")
			b.ReportMetric(float64(sum)/float64(len(all)), "B/packed")
			for i := 0; b.Loop(); i++ {
				appendContent(room, stamp{kind: stampOrdinal}, all[i%len(all)])
			}
		})
		b.Run(s.name+"/unpack", func(b *testing.B) {
			c := content{room: room}
			for i := 0; b.Loop(); i++ {
				_, c.body, _ = parseStamp(packed[i%len(packed)])
				if _, ok := c.value(); !ok {
					b.Fatal("not unpacked")
				}
			}
		})
	}
}
