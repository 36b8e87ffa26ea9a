package schema

import (
	"strings"
	"testing"
)

// TestPreparedForEquality holds what RFC 4518 makes equal, and what not.
func TestPreparedForEquality(t *testing.T) {
	tests := []struct {
		name       string
		in         string
		fold, keep string // the caseIgnore and the caseExact form
	}{
		{"case", "Babs JENSEN", "babs jensen", "Babs JENSEN"},
		{"spaces at the ends and inner runs", "  foo   bar  ", "foo bar", "foo bar"},
		{"RFC 4518 2.6.1: foo bar", "foo bar  ", "foo bar", "foo bar"},
		{"empty equals blank", "", " ", " "},
		{"blank", "    ", " ", " "},
		{"tab, line feed, NEL and others are spaces", "a\tb\nc\vd\fe\rf\u0085g", "a b c d e f g", "a b c d e f g"},
		{"separators are spaces", "a\u00a0b\u1680c\u2003d\u2028e\u202ff\u3000g", "a b c d e f g", "a b c d e f g"},
		{"zero width space is nothing", "a\u200bb", "ab", "ab"},
		{"soft hyphens, joiner, variation selector", "a\u00ad\u1806\u034f\ufe0fb\u180b", "ab", "ab"},
		{"object replacement character", "a\ufffcb", "ab", "ab"},
		{"controls are nothing", "a\x00\x01\x1f\x7f\u0086b\u200e\u2060\ufeff", "ab", "ab"},
		{"musical controls and tags", "a\U0001d173\U000e0041b", "ab", "ab"},
		{"umlauts", "ÄÖÜ ß", "äöü ss", "ÄÖÜ ß"},
		{"sharp s in capitals", "STRASSE", "strasse", "STRASSE"},
		{"sigma, also final", "ΣΊΣΥΦΟς", "σίσυφοσ", "ΣΊΣΥΦΟς"},
		{"composed as decomposed", "e\u0301", "\u00e9", "\u00e9"},
		{"ligature", "ﬁle", "file", "file"},
		{"fullwidth", "ＡＢＣ", "abc", "ABC"},
		{"trade mark sign folds after normalising", "™", "tm", "TM"},
		{"space with a combining mark is none", "a \u0308 b", "a \u0308 b", "a \u0308 b"},
		{"emoji younger than Unicode 3.2", "A🙂", "a🙂", "A🙂"},
		{"leading mark", "\u0301x", "\u0301x", "\u0301x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := caseIgnore(nil, []byte(tt.in)); err != nil || string(got) != tt.fold {
				t.Errorf("caseIgnore: %q, %v; want %q", got, err, tt.fold)
			}
			if got, err := caseExact([]byte("x:"), []byte(tt.in)); err != nil || string(got) != "x:"+tt.keep {
				t.Errorf("caseExact: %q, %v; want %q", got, err, "x:"+tt.keep)
			}
		})
	}
}

func TestProhibited(t *testing.T) {
	for _, in := range []string{
		"\xff", "a\xc3", "\xed\xa0\x80", "a\ufffd", "\ue000", "\U000f0000", "\U0010fffd", "\ufdd0", "\uffff", "\U0001fffe",
	} {
		got, err := caseIgnore([]byte("kept"), []byte(in))
		if err == nil || string(got) != "kept" {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

// TestPreparedForSubstrings holds RFC 4518 section 2.6.1's forms, with its
// examples.
func TestPreparedForSubstrings(t *testing.T) {
	whole := []struct{ in, want string }{
		{"foo bar  ", " foo  bar "},
		{"foo", " foo "},
		{"", "  "},
		{"  ", "  "},
		{"Äb\u00a0c", " äb  c "},
	}
	for _, tt := range whole {
		if got, err := caseIgnoreWhole(nil, []byte(tt.in)); err != nil || string(got) != tt.want {
			t.Errorf("whole %q: %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
	pieces := []struct{ in, initial, middle, final string }{
		{"foo bar  ", " foo  bar ", "foo  bar ", "foo  bar "},
		{"  foo", " foo", " foo", " foo "},
		{"foo", " foo", "foo", "foo "},
		{"", " ", " ", " "},
		{"   ", " ", " ", " "},
		{"É  ", " é ", "é ", "é "},
	}
	for _, tt := range pieces {
		for _, at := range []struct {
			initial, final bool
			want           string
		}{{true, false, tt.initial}, {false, false, tt.middle}, {false, true, tt.final}} {
			got, err := caseIgnorePiece(nil, []byte(tt.in), at.initial, at.final)
			if err != nil || string(got) != at.want {
				t.Errorf("piece %q %v %v: %q, %v; want %q", tt.in, at.initial, at.final, got, err, at.want)
			}
		}
	}
}

// substrings matches as a filter does: "*" parts the pieces.
func substrings(t *testing.T, r *MatchingRule, value, pattern string) bool {
	t.Helper()
	rest, err := r.Normalize(nil, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	text := string(rest)
	pieces := strings.Split(pattern, "*")
	for i, piece := range pieces {
		initial, final := i == 0, i == len(pieces)-1
		if piece == "" && (initial || final) {
			continue
		}
		p, err := r.NormalizeSubstr(nil, []byte(piece), initial, final)
		if err != nil {
			t.Fatal(err)
		}
		at := strings.Index(text, string(p))
		switch {
		case initial:
			if !strings.HasPrefix(text, string(p)) {
				return false
			}
			at = 0
		case final:
			return strings.HasSuffix(text, string(p))
		}
		if at < 0 {
			return false
		}
		text = text[at+len(p):]
	}
	return true
}

func TestSubstrings(t *testing.T) {
	tests := []struct {
		rule, value, pattern string
		want                 bool
	}{
		{"caseIgnoreSubstringsMatch", "a b", "*a *b*", true},
		{"caseIgnoreSubstringsMatch", "a b", "*a * b*", true},
		{"caseIgnoreSubstringsMatch", "a b", "a*b", true},
		{"caseIgnoreSubstringsMatch", "A  B", "a b*", true},
		{"caseIgnoreSubstringsMatch", "foobar", "foo * bar", false}, // RFC 4518 appendix B, 1
		{"caseIgnoreSubstringsMatch", "foo bar", "foo * bar", true},
		{"caseIgnoreSubstringsMatch", "foobar", "* foobar *", true}, // appendix B, 2
		{"caseIgnoreSubstringsMatch", "foobar", "* *foobar* *", true},
		{"caseIgnoreSubstringsMatch", "foo bar", "*OO B*", true},
		{"caseIgnoreSubstringsMatch", "foo bar", "bar*", false},
		{"caseIgnoreSubstringsMatch", "foo bar ", "*bar", true},
		{"caseIgnoreSubstringsMatch", "Müller", "*MÜL*", true},
		{"caseExactSubstringsMatch", "foo bar", "*OO B*", false},
		{"caseExactSubstringsMatch", "foo bar", "f*r", true},
		{"caseIgnoreIA5SubstringsMatch", "Babs@Example.COM", "babs@*.com", true},
		{"caseExactIA5SubstringsMatch", "Babs@Example.COM", "babs@*", false},
		{"telephoneNumberSubstringsMatch", "+1 408 555-1212", "*5551*", true},
		{"telephoneNumberSubstringsMatch", "+1 408 555-1212", "+14-08*12 12", true},
		{"numericStringSubstringsMatch", "12 34 5", "123*5", true},
		{"octetStringSubstringsMatch", "A b", "A*b", true},
		{"octetStringSubstringsMatch", "A b", "a*b", false},
		{"caseIgnoreListSubstringsMatch", "1 Main St$Anytown, CA$USA", "*main*usa", true},
		{"caseIgnoreListSubstringsMatch", "1 Main St$Anytown", "*st$any*", false},
		{"caseIgnoreListSubstringsMatch", `cost \24 5$x`, "cost $*", true},
		{"caseIgnoreListSubstringsMatch", `a\5Cb`, `*a\b*`, true},
	}
	for _, tt := range tests {
		r := findRule(tt.rule)
		if got := substrings(t, r, tt.value, tt.pattern); got != tt.want {
			t.Errorf("%s: %q by %q is %v", tt.rule, tt.value, tt.pattern, got)
		}
	}
}

func TestNoGarbageForASCII(t *testing.T) {
	buf := make([]byte, 0, 64)
	value := []byte("Barbara  J. Jensen ")
	allocs := testing.AllocsPerRun(100, func() {
		for _, r := range []string{"caseIgnoreMatch", "caseExactIA5Match", "telephoneNumberMatch"} {
			if _, err := ruleIndex[strings.ToLower(r)].Normalize(buf, value); err != nil {
				t.Fatal(err)
			}
		}
	})
	if allocs > 3 { // ToLower of the three names
		t.Errorf("%v allocations", allocs)
	}
}

// TestSinglesAgree checks the short way for Latin, Greek and Cyrillic text
// against the long one: each code point alone, and between others.
func TestSinglesAgree(t *testing.T) {
	for _, fold := range []bool{true, false} {
		singles := 0
		for r := rune(0); r < tableEnd+10; r++ {
			for _, in := range []string{string(r), "Ä" + string(r), string(r) + " Éa", "σ" + string(r) + "Σ"} {
				got, ok := prepareSingles(nil, []byte(in), fold, &substrValue)
				if !ok {
					continue
				}
				singles++
				text, err := preparedText([]byte(in), fold)
				if err == nil {
					text, err = marked(text, &substrValue)
				}
				if want := appendSpaced(nil, text, fold, &substrValue); err != nil || string(got) != string(want) {
					t.Errorf("%q: %q, want %q, %v", in, got, want, err)
				}
			}
		}
		if singles < 4*1000 {
			t.Errorf("only %d texts went the short way", singles)
		}
	}
	long := strings.Repeat("ÄÖ ", stackText)
	if got, err := caseIgnore(nil, []byte(long)); err != nil || string(got) != strings.TrimSpace(strings.Repeat("äö ", stackText)) {
		t.Errorf("a long text: %d bytes, %v", len(got), err)
	}
}

func BenchmarkCaseIgnore(b *testing.B) {
	value := []byte("Barbara Jane Jensen!")
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := caseIgnore(buf, value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCaseIgnoreUnicode(b *testing.B) {
	value := []byte("Bärbel Jäger-Müller!")
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := caseIgnore(buf, value); err != nil {
			b.Fatal(err)
		}
	}
}
