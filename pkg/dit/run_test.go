package dit

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/ber"
	"shaft/pkg/schema"
)

func TestRunWalk(t *testing.T) {
	long := strings.Repeat("x", 70000)
	var r Run
	r = AppendAttr(r, "cn", "a", "b")
	r = AppendAttr(r, "description")
	r = AppendAttrBytes(r, []byte("jpegPhoto;binary"), []byte{0, 1, 0xff}, nil, []byte(long))
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	want := []struct {
		desc   string
		values []string
	}{{"cn", []string{"a", "b"}}, {"description", nil}, {"jpegPhoto;binary", []string{"\x00\x01\xff", "", long}}}
	i, whole := 0, []byte{}
	for desc, vals, element, rest, ok := r.NextRaw(); ok; desc, vals, element, rest, ok = rest.NextRaw() {
		var got []string
		for len(vals) > 0 {
			tag, v, more, err := ber.Next(vals)
			if err != nil || tag != ber.OctetString {
				t.Fatalf("%s: tag %x, %v", desc, tag, err)
			}
			got, vals = append(got, string(v)), more
		}
		if string(desc) != want[i].desc || fmt.Sprint(got) != fmt.Sprint(want[i].values) {
			t.Errorf("attribute %d: %s %.50q", i, desc, got)
		}
		whole = append(whole, element...)
		i++
	}
	if i != len(want) || !bytes.Equal(whole, r) {
		t.Errorf("%d attributes; the elements make the run: %v", i, bytes.Equal(whole, r))
	}
	if _, _, _, ok := (Run(nil)).Next(); ok {
		t.Error("an empty run has an attribute")
	}
}

func TestRunCheck(t *testing.T) {
	good := AppendAttr(nil, "cn", "a")
	for what, bad := range map[string]string{
		"cut short":        string(good[:len(good)-1]),
		"expected 0x30":    "\x31" + string(good[1:]),
		"expected 0x04":    "\x30\x06\x0c\x02cn\x31\x00",
		"description is":   "\x30\x04\x04\x00\x31\x00",
		"expected 0x31":    "\x30\x06\x04\x02cn\x30\x00",
		"behind the":       "\x30\x08\x04\x02cn\x31\x00\x05\x00",
		"value of":         "\x30\x08\x04\x02cn\x31\x02\x05\x00",
		"more octets":      "\x30\x81\x06\x04\x02cn\x31\x00",
		"offset 11":        string(good) + "\x30\x80",
		"description: cut": "\x30\x00",
		"values of":        "\x30\x04\x04\x02cn",
	} {
		if err := Run(bad).Check(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%x: %v, want %q", bad, err, what)
		}
	}
}

func TestRunValues(t *testing.T) {
	r := personRun()
	for desc, want := range map[string]string{
		"cn":         "[Babs Jensen Barbara  Jensen Bärbel Jensen]",
		"commonName": "[Babs Jensen Barbara  Jensen Bärbel Jensen]",
		"2.5.4.4":    "[Jensen]",
		"name":       "[Babs Jensen Barbara  Jensen Bärbel Jensen Jensen]",
		"ou":         "[]",
	} {
		if got := fmt.Sprintf("%s", r.Values(testSchema, testSchema.Attribute(desc))); got != want {
			t.Errorf("%s: %s", desc, got)
		}
	}
	odd := AppendAttr(nil, "Made-Up", "x")
	if got := odd.Values(testSchema, testSchema.Attribute("made-up")); len(got) != 1 {
		t.Errorf("a name that the schema lacks: %q", got)
	}
}

// A run that is sought through gives the attributes that a walk meets and the sieve has, and ends where the walk does.
func checkSeek(t *testing.T, r Run, sieve *schema.Sieve) {
	t.Helper()
	var want, got []string
	walk := func(r Run, next func(Run) Run, into *[]string) Run {
		for r = next(r); ; r = next(r) {
			desc, vals, rest, ok := r.Next()
			if !ok {
				return r
			}
			if sieve.Has(desc) {
				*into = append(*into, fmt.Sprintf("%q %x", desc, vals))
			}
			r = rest
		}
	}
	at := walk(r, func(r Run) Run { return r }, &want)
	sought := walk(r, func(r Run) Run { return r.Seek(sieve) }, &got)
	if !slices.Equal(got, want) || (len(at) == 0) != (len(sought) == 0) {
		t.Fatalf("%x: %q, %d bytes left, want %q, %d", []byte(r), got, len(sought), want, len(at))
	}
}

func TestRunSeek(t *testing.T) {
	var sieve schema.Sieve
	for _, name := range []string{"cn", "member", "jpegPhoto"} {
		sieve.Add(testSchema.Attribute(name))
	}
	long := strings.Repeat("x", 70000)
	for _, desc := range []string{"cn", "CN;lang-de", "sn", "member", "jpegPhoto;binary", "description", long} {
		for _, value := range []string{"", "short", long[:125], long[:130], long} {
			r := AppendAttr(AppendAttr(AppendAttr(nil, "sn", "x"), desc, value), "cn", value)
			checkSeek(t, r, &sieve)
			checkSeek(t, AppendAttr(r, "sn", "x"), &sieve)
		}
	}
	checkSeek(t, nil, &sieve)
}

// Whatever is in a run, walking it ends; what Check passes is walked whole.
func FuzzRun(f *testing.F) {
	f.Add([]byte(personRun()))
	f.Add([]byte("\x30\x84\xff\xff\xff\xff\x04\x00"))
	dns := schema.Bundled().DNs()
	f.Fuzz(func(t *testing.T, b []byte) {
		checked := Run(b).Check() == nil
		n := 0
		rest := Run(b)
		for {
			desc, vals, after, ok := rest.Next()
			if !ok {
				break
			}
			for v, more, ok := nextValue(vals); ok; v, more, ok = nextValue(more) {
				n += len(v)
			}
			n += len(desc)
			rest = after
		}
		if n > len(b) || checked && len(rest) != 0 {
			t.Fatalf("%x: %d bytes of content, %d not walked", b, n, len(rest))
		}
		for r := Run(b); len(r) > 0; {
			_, _, rest, ok := r.Seek(dns).Next()
			if !ok {
				break
			}
			r = rest
		}
		if checked {
			checkSeek(t, Run(b), dns)
		}
	})
}

// R4: values of DN syntax compare as names do, OIDs by what they name.
func TestR4NormalizeValue(t *testing.T) {
	n := NewNormalizer(testSchema)
	for _, tt := range []struct{ attr, a, b string }{
		{"member", "CN=A, DC=B", "2.5.4.3=a,dc=b"},
		{"uniqueMember", "CN=A, DC=B", "cn=a,dc=b"},
		{"uniqueMember", "CN=A#'01'B", "cn=a#'01'B"},
		{"uniqueMember", "CN=A#''B", "cn=a#''B"},
		{"objectClass", "Person", "2.5.6.6"},
		{"objectClass", " person ", "PERSON"},
		{"objectClass", "noSuchClass", "NOSUCHCLASS"},
		{"cn", "A  b", "a b"},
		{"uidNumber", "0", "-0"},
		{"jpegPhoto", "x", "x"},
		{"noSuchAttribute", "A  B", "a b"},
	} {
		a := testSchema.Attribute(tt.attr)
		one, err := NormalizeValue([]byte("x"), testSchema, a, []byte(tt.a))
		two, err2 := n.Append([]byte("x"), a, []byte(tt.b))
		if err != nil || err2 != nil || !bytes.Equal(one, two) || one[0] != 'x' {
			t.Errorf("%s: %q gives %q (%v), %q gives %q (%v)", tt.attr, tt.a, one, err, tt.b, two, err2)
		}
	}
	for _, tt := range []struct{ attr, value string }{
		{"member", "no name"}, {"uniqueMember", "cn=a#'012'B"}, {"uniqueMember", "#'01'B,"}, {"uidNumber", "x"},
	} {
		if got, err := NormalizeValue(nil, testSchema, testSchema.Attribute(tt.attr), []byte(tt.value)); err == nil {
			t.Errorf("%s: %q gives %q", tt.attr, tt.value, got)
		}
		if got, err := n.Append(nil, testSchema.Attribute(tt.attr), []byte(tt.value)); err == nil {
			t.Errorf("%s: %q gives %q the second time", tt.attr, tt.value, got)
		}
	}
}
