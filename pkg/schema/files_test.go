package schema

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func extend(t *testing.T, s *Schema, name, text string) *Schema {
	t.Helper()
	s, err := s.Extend(File{Name: name, Text: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const oddSchema = `# A comment
	attributetype ( 9.9.9 ) which goes on

objectIdentifier Root 1.3.6.1.4.1.99999
ObjectIdentifier	Types Root:1
objectidentifier Str 1.3.6.1.4.1.1466.115.121.1.15
attributeType ( Types:1 NAME ( 'zebra'
	'zebraName' ) DESC 'what\27s striped \5c
		and over two lines' SUP horse X-ORDERED 'VALUES' X-Seen-In ( 'a' 'b' ) )
attributetype ( Types:2.5 NAME 'horse' EQUALITY 'caseIgnoreMatch'
	SUBSTR 2.5.13.4 SYNTAX Str{20} OBSOLETE
	)
attributeype ( Types NAME mule SYNTAX '1.3.6.1.4.1.1466.115.121.1.12' EQUALITY distinguishedNameMatch )
objectclass ( Root:2.1 NAME 'stable' SUP top AUXILIARY MUST zebra MAY ( mule $ HORSE $ 2.5.4.3$zebra ) )
objectclass(Root:2.2 NAME('barn')SUP(stable$person)STRUCTURAL)
ditcontentrule ( Root:2.2 NAME 'barnRule' AUX stable MUST zebra MAY ( sn $ mule ) NOT cn )
ldapsyntax ( Root:3.1 NAME 'Hay' DESC 'hay' X-SUBST '1.3.6.1.4.1.1466.115.121.1.15' )
`

// R39: the operator's files add to the schema.
func TestR39SchemaFile(t *testing.T) {
	base := Bundled()
	s := extend(t, base, "odd.schema", oddSchema)
	zebra := s.Attribute("ZebraName")
	if zebra.OID != "1.3.6.1.4.1.99999.1.1" || zebra.Key() != "zebra" || zebra.Sup != s.Attribute("horse") ||
		zebra.Desc != `what's striped \ and over two lines` || zebra.Equality.Name() != "caseIgnoreMatch" ||
		zebra.Substr.Name() != "caseIgnoreSubstringsMatch" || zebra.SyntaxLen != 20 || zebra.Obsolete ||
		!slices.Equal(zebra.Extensions["X-Seen-In"], []string{"a", "b"}) || len(zebra.Extensions) != 2 {
		t.Errorf("zebra: %+v", zebra)
	}
	if horse := s.Attribute("1.3.6.1.4.1.99999.1.2.5"); horse.Name() != "horse" || !horse.Obsolete || len(s.Subtypes(horse)) != 2 {
		t.Errorf("horse: %+v", horse)
	}
	if mule := s.Attribute("mule"); mule.OID != "1.3.6.1.4.1.99999.1" || !mule.IsDN() {
		t.Errorf("mule: %+v", mule)
	}
	barn := s.ObjectClass("barn")
	if len(barn.Sup) != 2 || len(s.ObjectClass("stable").May) != 4 || s.ObjectClass("stable").Kind != Auxiliary {
		t.Errorf("barn: %+v", barn)
	}
	if !s.Allows([]string{"barn"}, s.Attribute("sn")) || !s.Allows([]string{"barn"}, zebra) {
		t.Error("barn does not inherit")
	}
	if !base.Attribute("zebra").Unknown || base.ObjectClass("barn") != nil {
		t.Error("Extend changed its receiver")
	}
}

func TestLDIFFiles(t *testing.T) {
	const text = `# as cn=config has it
dn: cn={4}odd,cn=schema,cn=config
objectClass: olcSchemaConfig
cn: {4}odd
olcAttributeTypes: {0}( Odd:1 NAME 'zebra' SYNTAX 1.3.6.1.4.1.1466.1
 15.121.1.15 )
olcAttributeTypes:: ezF9KCBPZGQ6MyBOQU1FICdtdWxlJyBTVVAgemVicmEgKQ==
olcObjectClasses: {0}( Odd:2 NAME 'stable' SUP top MUST zebra )
olcObjectIdentifier: {0}Odd 1.3.6.1.4.1.99999
olcLdapSyntaxes: {0}( Odd:7 DESC 'x' )
olcDitContentRules: {0}( Odd:2 AUX posixAccount )

attributeTypes: ( 1.3.6.1.4.1.99999.4 NAME 'pony' SUP zebra )
objectClasses: ( 1.3.6.1.4.1.99999.5 NAME 'paddock' SUP stable AUXILIARY )
dITContentRules: ( 1.3.6.1.4.1.99999.5 )
ldapSyntaxes: ( 1.3.6.1.4.1.99999.6 )
matchingRules: ( ignored
`
	s := extend(t, Bundled(), "ODD.LDIF", text)
	for _, name := range []string{"zebra", "mule", "pony"} {
		if a := s.Attribute(name); a.Unknown || a.Syntax != SyntaxDirectoryString {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if s.ObjectClass("paddock") == nil || s.ObjectClass("stable").Must[0] != s.Attribute("zebra") {
		t.Error("classes")
	}
}

// TestFilesOfOneSet checks references and macros across files.
func TestFilesOfOneSet(t *testing.T) {
	s, err := Bundled().Extend(
		File{"a.schema", []byte("attributetype ( M:1 NAME 'zebra' SUP horse )\n")},
		File{"b.ldif", []byte("olcAttributeTypes: ( M:2 NAME 'horse' SUP name )\n")},
		File{"c.schema", []byte("objectidentifier M 1.3.6.1.4.1.99999\nobjectidentifier m 1.3.6.1.4.1.99999")},
	)
	if err != nil {
		t.Fatal(err)
	}
	if s.Attribute("zebra").Sup.Sup != s.Attribute("name") {
		t.Error("zebra does not derive from name")
	}
	if s = extend(t, s, "d.schema", "attributetype ( 1.3.6.1.4.1.99999.3 NAME 'foal' SUP zebra )"); s.Attribute("foal").Unknown {
		t.Error("no foal")
	}
}

// TestDebianSchemaFiles reads what slapd ships, one by one and all together.
func TestDebianSchemaFiles(t *testing.T) {
	base := Bundled()
	for _, suffix := range []string{"schema", "ldif"} {
		names, err := filepath.Glob("/etc/ldap/schema/*." + suffix)
		if err != nil {
			t.Fatal(err)
		}
		var all []File
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			f := File{name, text}
			if _, err := base.Extend(f); err != nil {
				t.Error(err)
			}
			all = append(all, f)
		}
		if _, err := base.Extend(all...); err != nil {
			t.Error(err)
		}
	}
}

func TestRepeatedDefinitions(t *testing.T) {
	base := Bundled()
	s := extend(t, base, "core.schema", `
attributetype ( 2.5.4.3 NAME ( 'cn' 'commonName' ) DESC 'other words' SUP name SINGLE-VALUE )
attributetype ( 2.5.4.4 NAME ( 'surname' 'nachname' ) SUP name )
attributetype ( 2.5.4.7 SUP name )
objectclass ( 2.5.6.6 NAME 'PERSON' SUP top MUST cn )
objectclass ( 1.3.6.1.4.1.99999.9 NAME 'leute' SUP person MUST nachname )
`)
	if cn := s.Attribute("cn"); cn.SingleValue || cn.Desc != base.Attribute("cn").Desc {
		t.Errorf("the known cn did not stay: %+v", cn)
	}
	if sn := s.Attribute("nachname"); sn.OID != "2.5.4.4" || sn.Key() != "sn" || !slices.Equal(sn.Names, []string{"sn", "surname", "nachname"}) {
		t.Errorf("sn: %+v", sn)
	}
	if !base.Attribute("nachname").Unknown {
		t.Error("the name went into the other schema")
	}
	if len(s.ObjectClass("person").Must) != 2 || len(s.ObjectClass("leute").AllMust()) != 3 {
		t.Error("the known person did not stay")
	}
}

// TestFileErrors wants file, line and column of what is wrong.
func TestFileErrors(t *testing.T) {
	deep := strings.Builder{}
	for i := range maxSuperiors + 2 {
		deep.WriteString("attributetype ( 1.9." + strings.Repeat("1", i+1) + " NAME 'a" + strings.Repeat("x", i+1) + "' SUP ")
		deep.WriteString(map[bool]string{true: "name", false: "a" + strings.Repeat("x", i)}[i == 0] + " )\n")
	}
	tests := []struct{ name, text, want string }{
		{"x.schema", "\n\nfoo bar", `x.schema:3:1: unknown directive "foo"`},
		{"x.schema", "'foo", `x.schema:1:1: quote without an end`},
		{"x.schema", "attributetype\n\t( 1.2 NAME 'a'\n\tSYNTAX 1.2", "x.schema:3:12: a keyword expected, found the end"},
		{"x.schema", "attributetype 1.2", `x.schema:1:15: "(" expected, found "1.2"`},
		{"x.schema", "attributetype ( )", `x.schema:1:17: an OID expected, found ")"`},
		{"x.schema", "attributetype ( 1..2 SUP cn )", `x.schema:1:17: bad OID "1..2"`},
		{"x.schema", "attributetype ( Foo:1 SUP cn )", `x.schema:1:17: unknown OID macro "Foo"`},
		{"x.schema", "objectidentifier Foo 1.2\nattributetype ( Foo:x SUP cn )", `x.schema:2:17: bad OID "Foo:x"`},
		{"x.schema", "objectidentifier Foo 1.2\nobjectidentifier FOO 1.3", `x.schema:2:18: OID macro FOO is 1.2 already`},
		{"x.schema", "objectidentifier Foo", `x.schema:1:21: an OID expected, found the end`},
		{"x.schema", "objectidentifier", `x.schema:1:17: a macro's name expected, found the end`},
		{"x.schema", "objectidentifier 1 1.2", `x.schema:1:18: "1" is not a name (letters, digits, hyphens)`},
		{"x.schema", "objectidentifier a 1.2 b", `x.schema:1:24: the definition has ended; found "b"`},
		{"x.schema", "attributetype ( 1.2 SUP cn ) )", `x.schema:1:30: the definition has ended; found ")"`},
		{"x.schema", "attributetype ( 1.2 SUP cn SUP sn )", `x.schema:1:28: SUP stands twice`},
		{"x.schema", "attributetype ( 1.2 SUP 'a b' )", `x.schema:1:25: an attribute type expected, found 'a b'`},
		{"x.schema", "attributetype ( 1.2 NAME 'a b' )", `x.schema:1:26: "a b" is not a name (letters, digits, hyphens)`},
		{"x.schema", "attributetype ( 1.2 NAME ( 'a' ", `x.schema:1:32: a quoted text expected, found the end`},
		{"x.schema", "attributetype ( 1.2 NAME 'a' )", `x.schema:1:17: attribute type a has neither SUP nor SYNTAX`},
		{"x.schema", "attributetype ( 1.2 SYNTAX 1.2{x} )", `x.schema:1:28: bad length {x}`},
		{"x.schema", "attributetype ( 1.2 SYNTAX 1.2{1 )", `x.schema:1:28: bad length {1`},
		{"x.schema", "attributetype ( 1.2 SUP cn USAGE none )", `x.schema:1:34: unknown usage "none"`},
		{"x.schema", "attributetype ( 1.2 MUST cn )", `x.schema:1:21: MUST is not a keyword of an attribute type`},
		{"x.schema", "objectclass ( 1.2 SYNTAX 1.2 )", `x.schema:1:19: SYNTAX is not a keyword of an object class`},
		{"x.schema", "ditcontentrule ( 1.2 SUP top )", `x.schema:1:22: SUP is not a keyword of a content rule`},
		{"x.schema", "ldapsyntax ( 1.2 SUP top )", `x.schema:1:18: SUP is not a keyword of a syntax`},
		{"x.schema", "objectclass ( 1.2 MAY ( cn sn ) )", `x.schema:1:28: "$" or ")" expected, found "sn"`},
		{"x.schema", "objectclass ( 1.2 MAY ( cn $ ) )", `x.schema:1:30: an attribute type expected, found ")"`},
		{"x.schema", "attributetype ( 1.2 SUP nix )", `x.schema:1:25: unknown attribute type nix`},
		{"x.schema", "attributetype ( 1.2 SUP person )", `x.schema:1:25: unknown attribute type person`},
		{"x.schema", "attributetype ( 1.2 EQUALITY caseIgnorMatch SUP cn )", `x.schema:1:30: unknown matching rule caseIgnorMatch`},
		{"x.schema", "attributetype ( 1.2 ORDERING x SUP cn )", `x.schema:1:30: unknown matching rule x`},
		{"x.schema", "attributetype ( 1.2 SUBSTR x SUP cn )", `x.schema:1:28: unknown matching rule x`},
		{"x.schema", "objectclass ( 1.2 SUP nix )", `x.schema:1:23: unknown object class nix`},
		{"x.schema", "objectclass ( 1.2 MUST nix )", `x.schema:1:24: unknown attribute type nix`},
		{"x.schema", "objectclass ( 1.2 MAY ( cn\n $ nix ) )", `x.schema:2:4: unknown attribute type nix`},
		{"x.schema", "ditcontentrule ( 1.2 )", `x.schema:1:18: unknown object class 1.2`},
		{"x.schema", "ditcontentrule ( 2.5.6.6 AUX nix )", `x.schema:1:30: unknown object class nix`},
		{"x.schema", "ditcontentrule ( 2.5.6.6 NOT nix )", `x.schema:1:30: unknown attribute type nix`},
		{"x.schema", "attributetype ( 1.2 NAME 'a' SUP b )\nattributetype ( 1.3 NAME 'b' SUP a )",
			`x.schema:1:17: attribute type a is its own superior`},
		{"x.schema", "objectclass ( 1.2 NAME 'a' SUP a )", `x.schema:1:15: object class a is its own superior`},
		{"x.schema", deep.String(), `has more than 100 superiors`},
		{"x.schema", "attributetype ( 2.5.4.3 NAME 'nix' SUP name )",
			`x.schema:1:17: attribute type nix: its OID 2.5.4.3 is that of attribute type cn already (bundled/core.schema:`},
		{"x.schema", "objectclass ( 2.5.4.3 NAME 'cn' )", `x.schema:1:15: object class cn: its OID 2.5.4.3 is that of attribute type cn already`},
		{"x.schema", "attributetype ( 1.2 NAME ( 'nix' 'CN' ) SUP name )",
			`x.schema:1:17: attribute type nix: its name CN is that of OID 2.5.4.3 already (bundled/core.schema:`},
		{"x.schema", "attributetype ( 2.5.4.3 NAME ( 'cn' 'sn' ) SUP name )", `its name sn is that of OID 2.5.4.4 already`},
		{"x.ldif", "cn: x\nattributeTypes: ( 1.2 SUP\n  nix )", `x.ldif:3:3: unknown attribute type nix`},
		{"x.ldif", "attributeTypes:{12}( 1.2 SUP nix )", `x.ldif:1:30: unknown attribute type nix`},
		{"x.ldif", "attributeTypes: {1x}( 1.2 SUP nix )", `x.ldif:1:17: "(" expected, found "{1x}"`},
		{"x.ldif", "attributeTypes: {12", `x.ldif:1:17: "(" expected, found "{12"`},
		{"x.ldif", "attributeTypes: ( 1.2\r\n  SUP \r\n n\r\n ix", `x.ldif:4:4: a keyword expected, found the end`},
		{"x.ldif", "cn: x\nattributeTypes:: KCAxLjIgU1VQIG5peCAp", `x.ldif:2:17: unknown attribute type nix`},
		{"x.ldif", "cn: x\n\nfoo", `x.ldif:3:1: no colon behind the attribute's name`},
		{"x.ldif", "attributeTypes:", `x.ldif:1:16: "(" expected, found the end`},
	}
	base := Bundled()
	for _, tt := range tests {
		_, err := base.Extend(File{Name: tt.name, Text: []byte(tt.text)})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.80q:\n got %v\nwant %s", tt.text, err, tt.want)
		}
	}
}

// TestManySuperiors: classes cannot make superiors grow without bound.
func TestManySuperiors(t *testing.T) {
	var wide, deep strings.Builder
	wide.WriteString("objectclass ( 1.9 NAME 'all' SUP ( top")
	var classes strings.Builder
	for i := range 2 * maxSuperiors {
		name := "k" + strings.Repeat("x", i)
		oid := "1.9.1" + strings.Repeat("1", i)
		classes.WriteString("objectclass ( " + oid + " NAME '" + name + "' SUP top )\n")
		wide.WriteString(" $ " + name)
		sup := "l" + strings.Repeat("x", i+1)
		deep.WriteString("objectclass ( " + oid + " NAME 'l" + strings.Repeat("x", i) + "' SUP ( " + sup + " ) )\n")
	}
	wide.WriteString(" ) )\n")
	for _, text := range []string{classes.String() + wide.String(), deep.String()} {
		_, err := Bundled().Extend(File{"x.schema", []byte(text)})
		if err == nil || !strings.Contains(err.Error(), "has more than 100 superiors") {
			t.Errorf("got %v", err)
		}
	}
}

// FuzzExtend: any text is read or refused; what was read prints and reads back
// as the same definitions.
func FuzzExtend(f *testing.F) {
	f.Add([]byte(oddSchema), false)
	f.Add([]byte("attributeTypes: {0}( 1.2.3 NAME 'a' SUP cn X-A ( ) )\nolcObjectIdentifier: a 1.2\n"), true)
	f.Add([]byte("objectidentifier a 1.2\nattributetype ( a:3{ SYNTAX a{3} DESC '\\27 ' )\n"), false)
	base := Bundled()
	f.Fuzz(func(t *testing.T, text []byte, isLDIF bool) {
		name := "x.schema"
		if isLDIF {
			name = "x.ldif"
		}
		s, err := base.Extend(File{name, text})
		if err != nil {
			if !strings.HasPrefix(err.Error(), name+":") {
				t.Errorf("no place: %v", err)
			}
			return
		}
		for _, d := range s.defs[len(base.defs):] {
			again, err := reparsed(d)
			if err != nil {
				t.Fatalf("%v of %s", err, d)
			}
			if again.String() != d.String() {
				t.Errorf("%s\nbecame\n%s", d, again)
			}
		}
	})
}

// reparsed prints a definition and parses that.
func reparsed(d *definition) (*definition, error) {
	text := d.String()
	s := scanner{src: fileSource("printed", []byte(text)), end: len(text)}
	again, err := parseDefinition(d.kind, &s, macros{})
	if err == nil {
		err = s.finish()
	}
	return again, err
}
