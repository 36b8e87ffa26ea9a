package syncrepl

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
)

// R11, R12: the search as it goes out, octet by octet.
func TestAppendSearch(t *testing.T) {
	got := AppendSearch(nil, 2, Request{
		Base: "dc=x", Scope: 2, Filter: dit.Filter{Op: dit.FilterPresent, Attr: "objectClass"},
		Attributes: []string{"*", "+"}, Mode: RefreshAndPersist, Cookie: []byte("rid=001"), ReloadHint: true,
	})
	var op, controls []byte
	r := ber.NewReader(got)
	msg, err := r.Enter(ber.Sequence)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := msg.Int(ber.Integer); id != 2 || err != nil {
		t.Fatalf("message ID %d, %v", id, err)
	}
	if op, err = msg.Read(ber.Application(3)); err != nil {
		t.Fatal(err)
	}
	if controls, err = msg.Read(ber.Context(0)); err != nil || msg.More() {
		t.Fatal(err)
	}
	wantOp := "0404" + "64633d78" + "0a0102" + "0a0100" + "020100" + "020100" + "010100" +
		"870b" + hex.EncodeToString([]byte("objectClass")) + "3006" + "04012a" + "04012b"
	if hex.EncodeToString(op) != wantOp {
		t.Errorf("search\n got %x\nwant %s", op, wantOp)
	}
	value := seq(enum(3), oct("rid=001"), boolean(true))
	wantControls := append(control(OIDSyncRequest, boolean(true), oct(string(value))), control(OIDManageDsaIT, boolean(true))...)
	if !bytes.Equal(controls, wantControls) {
		t.Errorf("controls\n got %x\nwant %x", controls, wantControls)
	}
}

func TestParseRequest(t *testing.T) {
	for _, c := range []struct {
		name  string
		value []byte
		want  Request
		err   string
	}{
		{"all", seq(enum(3), oct("c"), boolean(true)), Request{Mode: RefreshAndPersist, Cookie: []byte("c"), ReloadHint: true}, ""},
		{"mode alone", seq(enum(1)), Request{Mode: RefreshOnly}, ""},
		{"hint FALSE spelled out", seq(enum(3), boolean(false)), Request{Mode: RefreshAndPersist}, ""},
		{"empty cookie", seq(enum(3), oct("")), Request{Mode: RefreshAndPersist, Cookie: []byte{}}, ""},
		{"mode 2", seq(enum(2)), Request{}, "mode 2 does not exist"},
		{"no mode", seq(oct("c")), Request{}, "mode 0 does not exist"},
		{"mode twice", seq(enum(3), enum(3)), Request{}, "offset 5: tag 0a a second time"},
		{"a set", seq(enum(3), []byte{0x31, 0}), Request{}, "offset 5: unexpected tag 31"},
		{"nothing", nil, Request{}, "offset 0"},
		{"more behind it", append(seq(enum(3)), 5, 0), Request{}, "offset 5: more than one element"},
	} {
		got := Request{Cookie: []byte("left over"), ReloadHint: true}
		err := ParseRequest(c.value, &got)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.HasPrefix(err.Error(), "sync request: ") {
				t.Errorf("%s: %v, want %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil || got.Mode != c.want.Mode || got.ReloadHint != c.want.ReloadHint ||
			!bytes.Equal(got.Cookie, c.want.Cookie) || (got.Cookie == nil) != (c.want.Cookie == nil) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(seq(enum(3), oct("c"), boolean(true)))
	f.Add(seq(enum(1)))
	f.Fuzz(func(t *testing.T, value []byte) {
		var r, again Request
		if ParseRequest(value, &r) != nil {
			return
		}
		if err := ParseRequest(appendRequestValue(nil, r), &again); err != nil || again.Mode != r.Mode ||
			again.ReloadHint != r.ReloadHint || !bytes.Equal(again.Cookie, r.Cookie) {
			t.Fatalf("%x is %+v, again %+v, %v", value, r, again, err)
		}
	})
}
