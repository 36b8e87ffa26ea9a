package schema

import (
	"slices"
	"strconv"
	"strings"
)

// defKind tells definitions apart.
type defKind int

const (
	defAttribute defKind = iota
	defClass
	defContentRule
	defSyntax
)

func (k defKind) String() string {
	return [...]string{"attribute type", "object class", "content rule", "syntax"}[k]
}

// definition is one definition as written (RFC 4512 section 4.1), with names
// not yet looked up.
type definition struct {
	kind     defKind
	at       place
	oid      string
	names    []string
	desc     string
	obsolete bool

	sup                         []word // one at most for an attribute type
	equality, ordering, substr  word
	syntax                      string
	syntaxLen                   int
	single, collective, noMod   bool
	usage                       Usage
	class                       ClassKind
	must, may, auxiliaries, not []word
	extensions                  []extension
}

// word is a reference to another definition.
type word struct {
	text string
	at   place
}

type extension struct {
	name   string
	values []string
}

var usageNames = [...]string{"userApplications", "directoryOperation", "distributedOperation", "dSAOperation"}

var classKindNames = [...]string{"STRUCTURAL", "ABSTRACT", "AUXILIARY"}

// parseDefinition parses one definition from its "(" to its ")". Beyond RFC
// 4512 it takes what schema files in use hold: fields in any order, OIDs as
// macros, quoted or bare where the other is asked for.
func parseDefinition(kind defKind, s *scanner, m macros) (*definition, error) {
	d := &definition{kind: kind, at: s.place()}
	if err := s.expect("("); err != nil {
		return nil, err
	}
	oid, err := s.word("an OID")
	if err != nil {
		return nil, err
	}
	d.at = oid.at
	if d.oid, err = m.expand(oid); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for {
		t, err := s.next()
		if err != nil {
			return nil, err
		}
		if t.is(")") {
			break
		}
		if t.kind != tokenWord {
			return nil, t.at.errorf("a keyword expected, found %s", t)
		}
		field := strings.ToUpper(t.text)
		if seen[field] {
			return nil, t.at.errorf("%s stands twice", field)
		}
		seen[field] = true
		if err := d.field(field, t, s, m); err != nil {
			return nil, err
		}
	}
	if kind == defAttribute && len(d.sup) == 0 && d.syntax == "" {
		return nil, d.at.errorf("attribute type %s has neither SUP nor SYNTAX", d.name())
	}
	return d, nil
}

// name is what messages call the definition.
func (d *definition) name() string { return firstName(d.names, d.oid) }

// field parses what follows one keyword.
func (d *definition) field(field string, t token, s *scanner, m macros) (err error) {
	switch {
	case field == "NAME":
		d.names, err = s.names()
	case field == "DESC":
		d.desc, err = s.text()
	case field == "OBSOLETE":
		d.obsolete = true
	case strings.HasPrefix(field, "X-"):
		var values []string
		values, err = s.texts()
		d.extensions = append(d.extensions, extension{t.text, values})
	case d.kind == defAttribute:
		err = d.attributeField(field, t, s, m)
	case d.kind == defClass || d.kind == defContentRule:
		err = d.classField(field, t, s)
	default:
		err = t.at.errorf("%s is not a keyword of a syntax", t.text)
	}
	return err
}

func (d *definition) attributeField(field string, t token, s *scanner, m macros) (err error) {
	switch field {
	case "SUP":
		var w word
		w, err = s.word("an attribute type")
		d.sup = []word{w}
	case "EQUALITY":
		d.equality, err = s.word("a matching rule")
	case "ORDERING":
		d.ordering, err = s.word("a matching rule")
	case "SUBSTR":
		d.substr, err = s.word("a matching rule")
	case "SYNTAX":
		err = d.syntaxField(s, m)
	case "SINGLE-VALUE":
		d.single = true
	case "COLLECTIVE":
		d.collective = true
	case "NO-USER-MODIFICATION":
		d.noMod = true
	case "USAGE":
		err = d.usageField(s)
	default:
		err = t.at.errorf("%s is not a keyword of an attribute type", t.text)
	}
	return err
}

func (d *definition) classField(field string, t token, s *scanner) (err error) {
	rule := d.kind == defContentRule
	kind := slices.Index(classKindNames[:], field)
	switch {
	case field == "MUST":
		d.must, err = s.words("an attribute type")
	case field == "MAY":
		d.may, err = s.words("an attribute type")
	case field == "AUX" && rule:
		d.auxiliaries, err = s.words("an object class")
	case field == "NOT" && rule:
		d.not, err = s.words("an attribute type")
	case field == "SUP" && !rule:
		d.sup, err = s.words("an object class")
	case kind >= 0 && !rule:
		d.class = ClassKind(kind)
	default:
		err = t.at.errorf("%s is not a keyword of an %s", t.text, defClass)
		if rule {
			err = t.at.errorf("%s is not a keyword of a %s", t.text, defContentRule)
		}
	}
	return err
}

// maxSyntaxLen bounds the length in braces; it is a hint only.
const maxSyntaxLen = 1<<31 - 1

// syntaxField parses an OID and an optional length in braces.
func (d *definition) syntaxField(s *scanner, m macros) error {
	w, err := s.word("a syntax")
	if err != nil {
		return err
	}
	if oid, bound, ok := strings.Cut(w.text, "{"); ok {
		n, err := strconv.Atoi(strings.TrimSuffix(bound, "}"))
		if err != nil || n < 0 || n > maxSyntaxLen || !strings.HasSuffix(bound, "}") {
			return w.at.errorf("bad length {%s", bound)
		}
		w.text, d.syntaxLen = oid, n
	}
	d.syntax, err = m.expand(w)
	return err
}

func (d *definition) usageField(s *scanner) error {
	w, err := s.word("a usage")
	if err != nil {
		return err
	}
	for i, name := range usageNames {
		if strings.EqualFold(w.text, name) {
			d.usage = Usage(i)
			return nil
		}
	}
	return w.at.errorf("unknown usage %q", w.text)
}
