package schema

import (
	"errors"
	"fmt"
	"strings"

	"shaft/pkg/ldif"
)

// File is a named text: a .schema file (attributetype/objectclass/
// objectidentifier/ditcontentrule/ldapsyntax directives) or LDIF
// (attributeTypes:, objectClasses:, olcAttributeTypes:, olcObjectClasses:,
// olcObjectIdentifier: and so on; all other attributes are ignored).
type File struct {
	Name string // for errors; LDIF when it ends in .ldif
	Text []byte
}

// directive is one definition's text, or an OID macro.
type directive struct {
	macro bool
	kind  defKind
	body  scanner
}

// directiveKinds are the words of .schema files, in lower case. The last one
// is how OpenLDAP's dsee.schema spells an attribute type.
var directiveKinds = map[string]defKind{
	"attributetype":  defAttribute,
	"objectclass":    defClass,
	"ditcontentrule": defContentRule,
	"ldapsyntax":     defSyntax,
	"attributeype":   defAttribute,
}

// ldifKinds are the attributes of subschema entries and of OpenLDAP's
// cn=schema,cn=config, in lower case.
var ldifKinds = map[string]defKind{
	"attributetypes":     defAttribute,
	"objectclasses":      defClass,
	"ditcontentrules":    defContentRule,
	"ldapsyntaxes":       defSyntax,
	"olcattributetypes":  defAttribute,
	"olcobjectclasses":   defClass,
	"olcditcontentrules": defContentRule,
	"olcldapsyntaxes":    defSyntax,
}

const (
	macroDirective = "objectidentifier"
	macroLDIF      = "olcobjectidentifier"
)

// parseFiles reads the definitions of files, macros first: those of any file
// serve all files.
func parseFiles(files []File) ([]*definition, error) {
	var all []directive
	for _, f := range files {
		read := readSchemaFile
		if strings.HasSuffix(strings.ToLower(f.Name), ".ldif") {
			read = readLDIF
		}
		found, err := read(f)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	known := macros{}
	for _, d := range all {
		if d.macro {
			if err := known.define(&d.body); err != nil {
				return nil, err
			}
		}
	}
	var defs []*definition
	for _, d := range all {
		if d.macro {
			continue
		}
		def, err := parseDefinition(d.kind, &d.body, known)
		if err == nil {
			err = d.body.finish()
		}
		if err != nil {
			return nil, err
		}
		defs = append(defs, def)
	}
	return defs, nil
}

// define reads "name OID"; the same again is no error.
func (m macros) define(s *scanner) error {
	name, err := s.word("a macro's name")
	if err != nil {
		return err
	}
	value, err := s.word("an OID")
	if err != nil {
		return err
	}
	oid, err := m.expand(value)
	if err != nil {
		return err
	}
	key := strings.ToLower(name.text)
	if !isName(name.text) {
		return name.at.errorf("%q is not a name (letters, digits, hyphens)", name.text)
	}
	if old, ok := m[key]; ok && old != oid {
		return name.at.errorf("OID macro %s is %s already", name.text, old)
	}
	m[key] = oid
	return s.finish()
}

// readSchemaFile splits a .schema file into directives. A line that begins with
// white space continues the one before it, comments too (slapd.conf(5)).
func readSchemaFile(f File) ([]directive, error) {
	src := fileSource(f.Name, f.Text)
	var all []directive
	for off := 0; off < len(f.Text); {
		end := directiveEnd(f.Text, off)
		s := scanner{src: src, off: off, end: end}
		off = end
		if f.Text[s.off] == '#' {
			continue
		}
		t, err := s.next()
		if err != nil {
			return nil, err
		}
		if t.kind == tokenEnd {
			continue
		}
		word := strings.ToLower(t.text)
		kind, ok := directiveKinds[word]
		if !ok && word != macroDirective {
			return nil, t.at.errorf("unknown directive %s", t)
		}
		all = append(all, directive{macro: word == macroDirective, kind: kind, body: s})
	}
	return all, nil
}

// directiveEnd finds the next line that begins with something.
func directiveEnd(text []byte, off int) int {
	for off < len(text) {
		for off < len(text) && text[off] != '\n' {
			off++
		}
		if off < len(text) {
			off++
		}
		if off < len(text) && text[off] != ' ' && text[off] != '\t' {
			return off
		}
	}
	return off
}

// readLDIF finds the definitions in an LDIF text.
func readLDIF(f File) ([]directive, error) {
	records, err := ldif.Parse(f.Text, true)
	var bad *ldif.Error
	if errors.As(err, &bad) {
		return nil, fmt.Errorf("%s:%d:1: %s", f.Name, bad.Line, bad.Msg)
	}
	var all []directive
	for _, r := range records {
		for _, a := range r.Attrs {
			name := strings.ToLower(a.Name)
			kind, ok := ldifKinds[name]
			if !ok && name != macroLDIF {
				continue
			}
			s := scanner{src: ldifSource(f, a.Line, a.Value), end: len(a.Value)}
			s.skipOrder()
			all = append(all, directive{macro: name == macroLDIF, kind: kind, body: s})
		}
	}
	return all, nil
}

// skipOrder skips the "{n}" that OpenLDAP puts before ordered values.
func (s *scanner) skipOrder() {
	text := s.src.text
	if len(text) == 0 || text[0] != '{' {
		return
	}
	for i := 1; i < len(text); i++ {
		if text[i] == '}' {
			s.off = i + 1
			return
		}
		if !isDigit(text[i]) {
			return
		}
	}
}
