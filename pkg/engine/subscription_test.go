package engine

import (
	"strings"
	"testing"

	"shaft/pkg/upstream"
)

// R9, R18: the content's filter is repaired and refused like a source's, and
// nothing else is said of it.
func TestValidateContent(t *testing.T) {
	for _, c := range []struct {
		kind, filter string
		attributes   []string
		want         string // the filter
		words        string // of the warning, or of the error
	}{
		{KindList, "", nil, "", ""},
		{KindList, "(cn=*)", []string{"cn"}, "(cn=*)", ""},
		{KindList, "((a=b)(c=d))", nil, "(&(a=b)(c=d))", "lacks an operator"},
		{KindList, "(cn=", nil, "", "content of what the list finds: filter"},
		{KindList, "", []string{"c n"}, "", "content of what the list finds: attributes"},
		{KindTree, "(cn=*)", nil, "", "are a list's"},
	} {
		s := Subscription{ID: "x", Kind: c.kind, Source: upstream.Source{Host: "h", Base: "o=x"}, ContentFilter: c.filter, ContentAttributes: c.attributes}
		warnings, err := s.validate()
		said := strings.Join(warnings, "; ")
		if err != nil {
			said = err.Error()
		}
		if (c.words == "") != (said == "") || !strings.Contains(said, c.words) || err == nil && s.ContentFilter != c.want {
			t.Errorf("%s %q %q: %q, %q", c.kind, c.filter, c.attributes, s.ContentFilter, said)
		}
	}
}
