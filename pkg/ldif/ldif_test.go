package ldif

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func attr(name, value string, line int) Attr {
	return Attr{Name: name, Value: []byte(value), Line: line}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		text string
		noDN bool
		want []Record
	}{
		{"empty", "", false, nil},
		{"only comments", "# a\n b\n\n\n#c", false, nil},
		{"version alone", "version: 1\n", false, nil},
		{"RFC 2849 example 1", `version: 1
dn: cn=Barbara Jensen, ou=Product Development, dc=airius, dc=com
objectclass: top
cn: Barbara Jensen
telephonenumber: +1 408 555 1212
description: A big sailing fan.

dn: cn=Bjorn Jensen, ou=Accounting, dc=airius, dc=com
cn: Bjorn Jensen
`, false, []Record{
			{DN: "cn=Barbara Jensen, ou=Product Development, dc=airius, dc=com", Line: 2, Attrs: []Attr{
				attr("objectclass", "top", 3), attr("cn", "Barbara Jensen", 4),
				attr("telephonenumber", "+1 408 555 1212", 5), attr("description", "A big sailing fan.", 6),
			}},
			{DN: "cn=Bjorn Jensen, ou=Accounting, dc=airius, dc=com", Line: 8, Attrs: []Attr{
				attr("cn", "Bjorn Jensen", 9),
			}},
		}},
		{"RFC 2849 example 2, folded", "dn:cn=Barbara Jensen, ou=Product Development, dc=airius, dc=com\n" +
			"description:Babs is a big sailing fan, and travels extensively in sea\n rch of perfect sailing conditions.\n" +
			"title:Product Manager, Rod and Reel Division\n", false, []Record{
			{DN: "cn=Barbara Jensen, ou=Product Development, dc=airius, dc=com", Line: 1, Attrs: []Attr{
				attr("description", "Babs is a big sailing fan, and travels extensively in search of perfect sailing conditions.", 2),
				attr("title", "Product Manager, Rod and Reel Division", 4),
			}},
		}},
		{"RFC 2849 example 3 and 4, base64", "dn:: b3U95Za25qWt6YOoLG89QWlyaXVz\n" +
			"description:: V2hhdCBhIGNhcmVmdWwgcmVhZGVyIHlvdSBhcmUhICBUaGlzIHZhbHVl\n IGlzIGJhc2UtNjQtZW5jb2RlZA==\n" +
			"ou;lang-ja:: 5Za25qWt6YOo\n", false, []Record{
			{DN: "ou=営業部,o=Airius", Line: 1, Attrs: []Attr{
				attr("description", "What a careful reader you are!  This value is base-64-encoded", 2),
				attr("ou;lang-ja", "営業部", 4),
			}},
		}},
		{"CR LF, blank lines, comment within", "\r\n\r\ndn: a=b\r\n# no\r\n  thing\r\na: x\r\n y\r\n\r\n\r\n", false, []Record{
			{DN: "a=b", Line: 3, Attrs: []Attr{attr("a", "xy", 6)}},
		}},
		{"empty values, root DSE", "dn:\na:\nb: \nc::\n", false, []Record{
			{DN: "", Line: 1, Attrs: []Attr{attr("a", "", 2), attr("b", "", 3), attr("c", "", 4)}},
		}},
		{"UTF-8 in clear, trailing space kept", "dn: cn=ä\ncn: ä \n", false, []Record{
			{DN: "cn=ä", Line: 1, Attrs: []Attr{attr("cn", "ä ", 2)}},
		}},
		{"version in a record is an attribute", "dn: a=b\nversion: 7\n", false, []Record{
			{DN: "a=b", Line: 1, Attrs: []Attr{attr("version", "7", 2)}},
		}},
		{"without DN", "attributeTypes: ( 1.2 )\nx: y\n\ndn: a=b\n\nz: 1", true, []Record{
			{Line: 1, Attrs: []Attr{attr("attributeTypes", "( 1.2 )", 1), attr("x", "y", 2)}},
			{DN: "a=b", Line: 4},
			{Line: 6, Attrs: []Attr{attr("z", "1", 6)}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.text), tt.noDN)
			if err != nil {
				t.Fatal(err)
			}
			if !equal(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// equal compares records, an empty slice being as good as none.
func equal(a, b []Record) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if x.DN != y.DN || x.Line != y.Line || len(x.Attrs) != len(y.Attrs) {
			return false
		}
		for j := range x.Attrs {
			v, w := x.Attrs[j], y.Attrs[j]
			if v.Name != w.Name || v.Line != w.Line || !bytes.Equal(v.Value, w.Value) {
				return false
			}
		}
	}
	return true
}

func TestParseErrorsNameTheLine(t *testing.T) {
	tests := []struct{ text, want string }{
		{" dn: a=b\n", "line 1: continues a line that is not there"},
		{"dn: a=b\n\n x\n", "line 3: continues a line that is not there"},
		{"dn: a=b\ncn\n", "line 2: no colon behind the attribute's name"},
		{"dn: a=b\n-\n", "line 2: no colon behind the attribute's name"},
		{"dn: a=b\nc n: x\n", `line 2: "c n" is not an attribute's name`},
		{"dn: a=b\n: x\n", `line 2: "" is not an attribute's name`},
		{"# one\ncn: a\n", "line 2: a record begins with dn:, found cn:"},
		{"version: 2\n", `line 1: LDIF version "2"; only 1 is known`},
		{"dn: a=b\ndn: c=d\n", "line 2: dn: within a record; records are parted by a blank line"},
		{"dn: a=b\nchangetype: delete\n", "line 2: changetype: records of changes are not read, only entries"},
		{"dn: a=b\ncontrol: 1.2.3 true\n", "line 2: control: records of changes are not read, only entries"},
		{"dn: a=b\njpegPhoto:< file:///etc/passwd\n", "line 2: values by URL are not read"},
		{"dn: a=b\ncn:: a b\n", "line 2: cn: bad base64"},
		{"dn: a=b\nx: 1\n 2\ncn:: abc\n", "line 4: cn: bad base64"},
		{"dn: a=b\ncn: \xff\n", "line 2: cn: a value that is not text needs base64"},
		{"dn: a=b\ncn: a\x00\n", "line 2: cn: a value that is not text needs base64"},
		{"dn:: /w==\n", "line 1: the DN is not UTF-8"},
	}
	for _, tt := range tests {
		_, err := Parse([]byte(tt.text), false)
		var e *Error
		if !errors.As(err, &e) || err.Error() != tt.want {
			t.Errorf("Parse(%q): %v, want %s", tt.text, err, tt.want)
		}
	}
}

func TestWrite(t *testing.T) {
	r := Record{DN: "cn=a", Attrs: []Attr{
		attr("cn", "a", 0), attr("empty", "", 0), attr("space", " x", 0), attr("colon", ":x", 0), attr("less", "<x", 0),
		attr("end", "x ", 0), attr("lf", "a\nb", 0), attr("nul", "\x00", 0), attr("utf8", "ä", 0), attr("hash", "#x", 0),
	}}
	var out bytes.Buffer
	if err := Write(&out, r, 0); err != nil {
		t.Fatal(err)
	}
	want := "dn: cn=a\ncn: a\nempty:\nspace:: IHg=\ncolon:: Ong=\nless:: PHg=\nend:: eCA=\nlf:: YQpi\nnul:: AA==\nutf8:: w6Q=\nhash: #x\n\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestWriteFolds(t *testing.T) {
	for width := minWidth; width < 30; width++ {
		r := Record{DN: "cn=" + strings.Repeat("x", 50), Attrs: []Attr{attr("description", strings.Repeat("é", 20), 0)}}
		var out bytes.Buffer
		if err := Write(&out, r, width); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(out.String(), "\n") {
			if len(line) > width {
				t.Errorf("width %d: line of %d: %q", width, len(line), line)
			}
		}
		back, err := Parse(out.Bytes(), false)
		if err != nil || len(back) != 1 || back[0].DN != r.DN || !bytes.Equal(back[0].Attrs[0].Value, r.Attrs[0].Value) {
			t.Errorf("width %d: %+v, %v", width, back, err)
		}
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteRefuses(t *testing.T) {
	for _, name := range []string{"", "a b", "changeType", "control", "dn", "#x", "é"} {
		if err := Write(&bytes.Buffer{}, Record{Attrs: []Attr{attr(name, "x", 0)}}, 0); err == nil {
			t.Errorf("name %q was written", name)
		}
	}
	if err := Write(&bytes.Buffer{}, Record{}, 1); err == nil {
		t.Error("width 1 was taken")
	}
	if err := Write(brokenWriter{}, Record{}, 0); !errors.Is(err, errBroken) {
		t.Errorf("the writer's error became %v", err)
	}
}

// FuzzParse checks that what was parsed, written and parsed again is the same,
// folded or not.
func FuzzParse(f *testing.F) {
	f.Add([]byte("version: 1\ndn: cn=a\ncn:: YQ==\nx: a\n b\n\n# c\ndn:\n"), false, 0)
	f.Add([]byte("a: b\r\nc: ä\r\n"), true, 7)
	f.Fuzz(func(t *testing.T, text []byte, noDN bool, width int) {
		records, err := Parse(text, noDN)
		if err != nil {
			return
		}
		if width %= 100; width < minWidth {
			width = 0
		}
		var out bytes.Buffer
		for _, r := range records {
			if err := Write(&out, r, width); err != nil {
				t.Fatal(err)
			}
		}
		again, err := Parse(out.Bytes(), false)
		if err != nil {
			t.Fatalf("%v of\n%s", err, out.Bytes())
		}
		if !reflect.DeepEqual(withoutLines(again), withoutLines(records)) {
			t.Errorf("got  %+v\nwant %+v", again, records)
		}
	})
}

func withoutLines(records []Record) []Record {
	for i := range records {
		records[i].Line = 0
		for j := range records[i].Attrs {
			a := &records[i].Attrs[j]
			a.Line, a.Value = 0, append([]byte{}, a.Value...)
		}
	}
	return records
}
