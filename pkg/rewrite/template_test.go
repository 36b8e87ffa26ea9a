package rewrite

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/dit"
)

// R19: what a template may hold, its attributes, and its print.
func TestR19ParseTemplate(t *testing.T) {
	tests := []struct {
		text     string
		attrs    []string
		constant bool
	}{
		{"cn=SuSe", nil, true},
		{"cn=100%%", nil, true},
		{"cn=RedHat %(attr.distro)s", []string{"distro"}, false},
		{"cn=%(rdn0.cn)s", nil, false},
		{"cn=%(rdn1.cn)s %(attr.a)s %(attr.B)s %(attr.A)s", []string{"a", "B"}, false},
		{"%(attr.2.5.4.3)s=%(rdn255.x-y)s", []string{"2.5.4.3"}, false},
		{"cn=%%(attr.distro)s", nil, true},
		{"%(attr.distro)ss", []string{"distro"}, false},
		{"ou=é %(attr.cn)s", []string{"cn"}, false},
	}
	for _, test := range tests {
		tpl, err := ParseTemplate(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if got := tpl.Attributes(); !slices.Equal(got, test.attrs) {
			t.Errorf("%s: attributes %q, want %q", test.text, got, test.attrs)
		}
		if tpl.IsConstant() != test.constant {
			t.Errorf("%s: constant is %v", test.text, tpl.IsConstant())
		}
		if got := tpl.String(); got != test.text {
			t.Errorf("%s prints as %s", test.text, got)
		}
	}
}

// R19, R56: an error names its column.
func TestR19TemplateErrors(t *testing.T) {
	tests := []struct {
		text   string
		column int
		words  string
	}{
		{"", 1, "empty"},
		{"cn=100%", 7, "followed by"},
		{"cn=%s", 4, "followed by"},
		{"cn=%%%x", 6, "followed by"},
		{"cn=%(attr.cn", 4, "no closing )"},
		{"cn=%(", 4, "no closing )"},
		{"cn=%(attr.cn)", 14, "an s must follow"},
		{"cn=%(attr.cn)d", 14, "an s must follow"},
		{"cn=%(cn)s", 6, `"cn" is neither attr.NAME nor rdnN.NAME`},
		{"cn=%()s", 6, "neither"},
		{"cn=%(dn.cn)s", 6, `unknown directive "dn"`},
		{"cn=%(Attr.cn)s", 6, `unknown directive "Attr"`},
		{"cn=%(rdn.cn)s", 9, `"" is no RDN number`},
		{"cn=%(rdnx.cn)s", 9, `"x" is no RDN number`},
		{"cn=%(rdn-1.cn)s", 9, `"-1" is no RDN number`},
		{"cn=%(rdn01.cn)s", 9, `"01" is no RDN number`},
		{"cn=%(rdn256.cn)s", 9, `"256" is no RDN number`},
		{"cn=%(rdn99999999999999999999.cn)s", 9, "is no RDN number"},
		{"cn=%(attr.)s", 11, "name is missing"},
		{"cn=%(rdn0.)s", 11, "name is missing"},
		{"cn=%(attr.c n)s", 12, `" " cannot stand here`},
		{"cn=%(attr.-n)s", 11, `"-" cannot stand here`},
		{"cn=%(attr.a.b)s", 12, `"." cannot stand here`},
		{"cn=%(attr.2..5)s", 13, `"." cannot stand here`},
		{"cn=%(attr.2.)s", 12, `"." cannot stand here`},
		{"cn=%(attr.2a)s", 12, `"a" cannot stand here`},
		{"cn=%(attr.cn;lang-en)s", 13, "without options"},
		{"cn=%(attr.cn)s %(attr.é)s", 23, "cannot stand here"},
	}
	for _, test := range tests {
		_, err := ParseTemplate(test.text)
		var syntax *dit.SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if syntax.What != "template" || syntax.Text != test.text || syntax.Column != test.column || !strings.Contains(syntax.Msg, test.words) {
			t.Errorf("%s: %v, want column %d and %q", test.text, err, test.column, test.words)
		}
	}
}

// FuzzParseTemplate: what parses prints as it was written and parses to the
// same; what does not has its column within the text or just behind it.
func FuzzParseTemplate(f *testing.F) {
	for _, text := range []string{
		"", "cn=SuSe", "cn=RedHat %(attr.distro)s", "cn=%(rdn1.cn)s,ou=%(rdn0.ou)s", "100%%", "%(attr.2.5.4.3)s",
		"%", "%(", "%(attr.cn)", "%(rdn01.cn)s", "%(attr.cn;x)s", "%(attr.)s",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tpl, err := ParseTemplate(text)
		if err != nil {
			var syntax *dit.SyntaxError
			if !errors.As(err, &syntax) || syntax.Column < 1 || syntax.Column > len(text)+1 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if tpl.String() != text {
			t.Fatalf("%q prints as %q", text, tpl.String())
		}
		again, err := ParseTemplate(tpl.String())
		if err != nil || !reflect.DeepEqual(again, tpl) {
			t.Fatalf("%q: %v, %#v, want %#v", text, err, again, tpl)
		}
	})
}
