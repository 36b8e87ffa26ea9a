package upstream

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"shaft/pkg/dit"
)

// ParseURLs makes one Source of URLs of the same content (R13): the first says
// what it is, the others name further servers. What else they say must be what
// the first says.
func ParseURLs(texts []string) (src Source, warnings []string, err error) {
	if len(texts) == 0 {
		return Source{}, nil, errors.New("ldap url: none was given")
	}
	if src, warnings, err = ParseURL(texts[0]); err != nil {
		return Source{}, nil, numbered(0, texts, err)
	}
	for i, text := range texts[1:] {
		w, err := src.add(text)
		if err != nil {
			return Source{}, nil, numbered(i+1, texts, err)
		}
		for _, one := range w {
			if !slices.Contains(warnings, one) {
				warnings = append(warnings, one)
			}
		}
	}
	return src, warnings, nil
}

// numbered says which of several URLs is meant; its text is not repeated, since
// there may be a password in it.
func numbered(i int, texts []string, err error) error {
	if len(texts) == 1 {
		return err
	}
	return fmt.Errorf("URL number %d: %w", i+1, err)
}

// add takes the server of a further URL.
func (s *Source) add(text string) (warnings []string, err error) {
	other, warnings, err := ParseURL(text)
	if err != nil {
		return nil, err
	}
	parts, err := splitURL(text)
	if err != nil {
		return nil, err
	}
	at := other.first()
	for _, p := range parts[2:] {
		if p.raw != "" && !s.agrees(&other, p.name) {
			return nil, fmt.Errorf("the %s of %s differ from those of the first URL: give them there alone", p.name, at.url())
		}
	}
	s.StartTLS = s.StartTLS || other.StartTLS
	s.Servers = append(s.Servers, at)
	return warnings, nil
}

// agrees tells whether a part of a further URL says what the first one says.
func (s *Source) agrees(other *Source, part string) bool {
	switch part {
	case "base":
		a, aerr := dit.ParseDN(standard(), s.Base)
		b, berr := dit.ParseDN(standard(), other.Base)
		return aerr == nil && berr == nil && a.Equal(b)
	case "attributes":
		return slices.EqualFunc(s.Attributes, other.Attributes, strings.EqualFold)
	case "scope":
		return s.Scope == other.Scope
	case "filter":
		return s.Filter == other.Filter
	}
	return !other.StartTLS || s.StartTLS || s.Protocol != protocolLDAP
}

// URL prints the source with its first server, without credentials. The scope
// is always there, since readers of RFC 4516 take a missing one as base; ParseURL
// reads it back.
func (s *Source) URL() string { return s.urlAt(s.first()) }

// URLs prints the source once for each of its servers, each URL standing for
// itself; ParseURLs reads them back.
func (s *Source) URLs() []string {
	var all []string
	for _, at := range s.servers() {
		all = append(all, s.urlAt(at))
	}
	return all
}

// EntryURLs are LDAP URLs of one entry at the source's servers; sockets, which no
// other machine reaches, are left out.
func (s *Source) EntryURLs(dn dit.DN) (all []string) {
	for _, at := range s.servers() {
		if at.Protocol != protocolLDAPI && at.Host != "" {
			all = append(all, at.url()+"/"+encode(dn.String(), reserved))
		}
	}
	return all
}

func (s *Source) urlAt(at Server) string {
	filter, extensions := "", ""
	if s.Filter != AllEntries {
		filter = encode(s.Filter, reserved)
	}
	if s.StartTLS && at.Protocol == protocolLDAP {
		extensions = "!StartTLS"
	}
	tail := strings.Join([]string{
		encode(s.Base, reserved), encode(strings.Join(s.Attributes, ","), reserved), s.Scope, filter, extensions,
	}, "?")
	return at.url() + "/" + strings.TrimRight(tail, "?")
}

// reserved are the reserved characters of RFC 3986 without "?" and "#".
const reserved = ":/[]@!$&'()*+,;="

// encode percent-encodes all but the unreserved characters of RFC 3986 and
// those of keep.
func encode(s, keep string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if letterOrDigit(c) || strings.IndexByte("-._~", c) >= 0 || strings.IndexByte(keep, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
