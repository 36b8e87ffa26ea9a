package demo

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"shaft/pkg/ldif"
)

// check holds a tree against the LDIF texts that the upstreams began with: the
// DNs under the local names and no others, every value there, DN values moved.
func (s *stage) check(tree []ldif.Record) error {
	served := map[string]ldif.Record{}
	for _, r := range tree {
		served[r.DN] = r
	}
	wanted := map[string]bool{baseDN: true}
	var wrong []error
	for _, src := range s.sources {
		records, err := ldif.Parse([]byte(src.ldif), false)
		if err != nil {
			return err
		}
		for _, r := range records {
			if dn := src.move(r.DN); dn != r.DN {
				wanted[dn] = true
				wrong = append(wrong, src.compare(r, served[dn]))
			}
		}
	}
	for dn := range wanted {
		if _, ok := served[dn]; !ok {
			wrong = append(wrong, fmt.Errorf("no entry %q", dn))
		}
	}
	for dn := range served {
		if !wanted[dn] {
			wrong = append(wrong, fmt.Errorf("an entry %q too many", dn))
		}
	}
	return errors.Join(wrong...)
}

// move rebases the text of a DN that lies in what is taken of the source.
func (s *source) move(dn string) string {
	if rest, ok := strings.CutSuffix(dn, s.base); ok && (rest == "" || strings.HasSuffix(rest, ",")) {
		return rest + s.local()
	}
	return dn
}

// compare looks for every value of an upstream's entry in the one that is served.
func (s *source) compare(r, served ldif.Record) error {
	for _, want := range r.Attrs {
		value := s.move(string(want.Value))
		if !slices.ContainsFunc(served.Attrs, func(a ldif.Attr) bool { return a.Name == want.Name && string(a.Value) == value }) {
			return fmt.Errorf("%q lacks %s: %s", s.move(r.DN), want.Name, value)
		}
	}
	return nil
}
