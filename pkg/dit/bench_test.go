package dit

import "testing"

func BenchmarkDNParser(b *testing.B) {
	p := NewDNParser(testSchema)
	text := []byte("uid=babs.jensen,ou=People,dc=example,dc=com")
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDNParserEscapesAndUnicode(b *testing.B) {
	p := NewDNParser(testSchema)
	text := []byte(`cn=Jensen\, Bäbs+sn=Jensen,ou=People,dc=example,dc=com`)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkMatch(b *testing.B, text string, want Truth) {
	f, err := ParseFilter(text)
	if err != nil {
		b.Fatal(err)
	}
	m, user, oper := Compile(testSchema, f), personRun(), operRun()
	b.ReportAllocs()
	for b.Loop() {
		if m.Match("uid=babs,dc=example", user, oper) != want {
			b.Fatal("wrong answer")
		}
	}
}

func BenchmarkMatchAnd(b *testing.B) {
	benchmarkMatch(b, "(&(objectClass=person)(uid=babs.jensen))", True)
}

func BenchmarkMatchAndMiss(b *testing.B) {
	benchmarkMatch(b, "(&(objectClass=person)(uid=x))", False)
}
func BenchmarkMatchSubstring(b *testing.B) { benchmarkMatch(b, "(description=*engin*tower*)", True) }
func BenchmarkMatchInteger(b *testing.B)   { benchmarkMatch(b, "(uidNumber>=5000)", False) }
func BenchmarkMatchDN(b *testing.B)        { benchmarkMatch(b, "(manager=cn=Nobody,dc=example)", False) }

func BenchmarkNormalizeValueDN(b *testing.B) {
	member := testSchema.Attribute("member")
	value := []byte("uid=babs.jensen,ou=People,dc=example,dc=com")
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = NormalizeValue(dst[:0], testSchema, member, value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNormalizerDN(b *testing.B) {
	n, member := NewNormalizer(testSchema), testSchema.Attribute("member")
	value := []byte("uid=babs.jensen,ou=People,dc=example,dc=com")
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = n.Append(dst[:0], member, value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseDN(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseDN(testSchema, "uid=babs.jensen,ou=People,dc=example,dc=com"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	f, err := ParseFilter("(&(objectClass=person)(|(uid=x)(cn=y*z)))")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		Compile(testSchema, f)
	}
}

func BenchmarkSelection(b *testing.B) {
	sel := NewSelection(testSchema, []string{"cn", "mail", "uid"})
	run := personRun()
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = sel.Append(dst[:0], run, false, false)
	}
}
