package schema

import (
	"slices"
	"strconv"
	"strings"
)

// Values are one attribute's values in their printed form.
type Values struct {
	Name   string
	Values []string
}

// Subschema gives the definitions as the values of cn=Subschema
// (ldapSyntaxes, matchingRules, matchingRuleUse, attributeTypes, objectClasses,
// and dITContentRules if there are any), in RFC 4512 section 4.1's syntax, each
// sorted by OID.
func (s *Schema) Subschema() []Values {
	all := []Values{
		{"ldapSyntaxes", s.printed(defSyntax)},
		{"matchingRules", printedRules()},
		{"matchingRuleUse", s.printedRuleUses()},
		{"attributeTypes", s.printed(defAttribute)},
		{"objectClasses", s.printed(defClass)},
		{"dITContentRules", s.printed(defContentRule)},
	}
	return slices.DeleteFunc(all, func(v Values) bool { return len(v.Values) == 0 })
}

func (s *Schema) printed(kind defKind) []string {
	var defs []*definition
	for _, d := range s.defs {
		if d.kind == kind {
			defs = append(defs, d)
		}
	}
	slices.SortStableFunc(defs, func(a, b *definition) int { return compareOIDs(a.oid, b.oid) })
	values := make([]string, len(defs))
	for i, d := range defs {
		values[i] = d.String()
	}
	return values
}

// String prints the definition on one line; parsed again it is the same.
func (d *definition) String() string {
	p := printer{}
	p.begin(d.oid, d.names)
	p.quoted("DESC", d.desc)
	p.flag("OBSOLETE", d.obsolete)
	if d.kind == defAttribute {
		d.printAttribute(&p)
	} else {
		d.printClass(&p)
	}
	for _, x := range d.extensions {
		p.add(x.name)
		p.quotedList(x.values)
	}
	return p.end()
}

func (d *definition) printAttribute(p *printer) {
	p.words("SUP", d.sup)
	p.reference("EQUALITY", d.equality.text)
	p.reference("ORDERING", d.ordering.text)
	p.reference("SUBSTR", d.substr.text)
	syntax := d.syntax
	if d.syntaxLen > 0 {
		syntax += "{" + strconv.Itoa(d.syntaxLen) + "}"
	}
	p.reference("SYNTAX", syntax)
	p.flag("SINGLE-VALUE", d.single)
	p.flag("COLLECTIVE", d.collective)
	p.flag("NO-USER-MODIFICATION", d.noMod)
	if d.usage != UserApplications {
		p.reference("USAGE", usageNames[d.usage])
	}
}

func (d *definition) printClass(p *printer) {
	p.words("SUP", d.sup)
	p.flag(classKindNames[d.class], d.kind == defClass)
	p.words("AUX", d.auxiliaries)
	p.words("MUST", d.must)
	p.words("MAY", d.may)
	p.words("NOT", d.not)
}

// printer writes the definition language.
type printer struct{ strings.Builder }

func (p *printer) begin(oid string, names []string) {
	p.WriteString("( " + oid)
	if len(names) > 0 {
		p.add("NAME")
		p.quotedList(names)
	}
}

func (p *printer) end() string { return p.String() + " )" }

func (p *printer) add(text string) { p.WriteString(" " + text) }

func (p *printer) flag(keyword string, set bool) {
	if set {
		p.add(keyword)
	}
}

func (p *printer) reference(keyword, name string) {
	if name != "" {
		p.add(keyword + " " + name)
	}
}

func (p *printer) quoted(keyword, text string) {
	if text != "" {
		p.add(keyword + " '" + escapeText.Replace(text) + "'")
	}
}

func (p *printer) quotedList(texts []string) {
	if len(texts) == 1 {
		p.add("'" + escapeText.Replace(texts[0]) + "'")
		return
	}
	p.add("(")
	for _, text := range texts {
		p.add("'" + escapeText.Replace(text) + "'")
	}
	p.add(")")
}

func (p *printer) words(keyword string, words []word) {
	names := make([]string, len(words))
	for i, w := range words {
		names[i] = w.text
	}
	p.list(keyword, names)
}

func (p *printer) list(keyword string, names []string) {
	switch len(names) {
	case 0:
	case 1:
		p.add(keyword + " " + names[0])
	default:
		p.add(keyword + " ( " + strings.Join(names, " $ ") + " )")
	}
}

// sortedRules are the matching rules by OID.
func sortedRules() []*MatchingRule {
	return slices.SortedFunc(slices.Values(standardRules), func(a, b *MatchingRule) int { return compareOIDs(a.OID, b.OID) })
}

func printedRules() []string {
	var values []string
	for _, r := range sortedRules() {
		p := printer{}
		p.begin(r.OID, r.Names)
		p.reference("SYNTAX", r.Syntax)
		values = append(values, p.end())
	}
	return values
}

// printedRuleUses lists, for each rule that has any, the types that it may be
// used with in an extensible match.
func (s *Schema) printedRuleUses() []string {
	var values []string
	for _, r := range sortedRules() {
		var names []string
		for _, d := range s.defs {
			if d.kind == defAttribute && s.attrs[d.oid].takes(r) {
				names = append(names, d.name())
			}
		}
		if len(names) > 0 {
			p := printer{}
			p.begin(r.OID, r.Names)
			p.list("APPLIES", names)
			values = append(values, p.end())
		}
	}
	return values
}

// takes tells whether a rule is one of the type's own, or has the type's syntax
// for its assertions.
func (a *AttributeType) takes(r *MatchingRule) bool {
	return a.Equality == r || a.Ordering == r || a.Substr == r || a.Syntax == r.Syntax
}
