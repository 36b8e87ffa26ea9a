package test

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
)

//go:embed testdata/story.txt
var storyText string

// R1, R2, R3, R5, R8, R9, R16, R18, R19, R21, R22, R24, R25, R26, R27, R28, R29, R30, R31, R33, R34, R35, R48,
// R49, R50: the whole story, against real servers; testdata/story.txt tells it.
func TestStory(t *testing.T) {
	scenes, err := parseStory(storyText)
	if err != nil {
		t.Fatal(err)
	}
	ca, cert, key := authority(t)
	start := func(o ldaptest.SlapdOptions) *ldaptest.Slapd { return ldaptest.StartSlapd(t, o) }
	sources := map[string]*ldaptest.Slapd{
		"redhat": start(ldaptest.SlapdOptions{Suffix: ldaptest.RedHatSuffix, LDIF: ldaptest.RedHatLDIF, SessionLog: 1000}),
		"suse":   start(ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF, SID: 2}),
		"debian": start(ldaptest.SlapdOptions{Suffix: ldaptest.DebianSuffix, LDIF: ldaptest.DebianLDIF, CertFile: cert, KeyFile: key, CAFile: ca}),
		"dpkg":   start(ldaptest.SlapdOptions{Suffix: ldaptest.DpkgSuffix, LDIF: ldaptest.DpkgLDIF, CertFile: cert, KeyFile: key, CAFile: ca}),
	}
	p := &player{t: t, s: newShaft(t, ""), sources: sources}
	values := []string{"{ca}", ca, "{shaft}", p.s.address}
	for name, s := range sources {
		port := s.Port
		if s.TLSPort != 0 {
			port = s.TLSPort
		}
		values = append(values, "{"+name+"}", fmt.Sprintf("127.0.0.1:%d", port), "{"+name+".host}", "127.0.0.1", "{"+name+".port}", fmt.Sprint(port))
	}
	p.values = strings.NewReplacer(values...)
	for _, sc := range scenes {
		// One after the other: what one leaves is where the next begins.
		if !t.Run(sc.title, func(t *testing.T) {
			p.t, p.s.t = t, t
			for _, st := range sc.steps {
				p.play(st)
			}
		}) {
			break
		}
	}
	p.t, p.s.t = t, t
}

// The player reads what the story is written in, and refuses the rest.
func TestStoryIsRead(t *testing.T) {
	scenes, err := parseStory("prose\n    $ no step of the preface\n== One\nsays:\n    $ shaft 'a b' c\n    > word\n    > more words\n    exit 3\n" +
		"    served:\n        x\n        y\n\n    restart\n== Two\n    change a:\n        dn: b\n\n        dn: c\n\n    down a\n    alarms:\n\nthe end\n    queue cn=x y:\n        a\n        b/*\n")
	if err != nil {
		t.Fatal(err)
	}
	want := "[{One [{5 $ shaft 'a b' c [] [word more words] 3} {9 served:  [x y] [] 0} {13 restart  [] [] 0}]} " +
		"{Two [{15 change a [dn: b  dn: c] [] 0} {20 down a [] [] 0} {21 alarms:  [] [] 0} {24 queue cn=x y [a b/*] [] 0}]}]"
	if got := fmt.Sprint(scenes); got != want {
		t.Errorf("read\n%s\nwant\n%s", got, want)
	}
	for text, words := range map[string]string{
		"== A\n    frobnicate\n":       `line 2: "frobnicate" is no step`,
		"== A\n    > out of place\n":   "line 2: no command stands above",
		"== A\n    $ x\n    exit no\n": "line 3: strconv",
		"== A\n        deep\n":         "line 2: nothing above takes this block",
		"== A\n    $\n":                "is no step",
		"== A\n    restart now\n":      "is no step",
		"== A\n    down\n":             "is no step",
		"== A\n    up a\n        b\n":  "line 3: nothing above takes this block",
	} {
		if _, err := parseStory(text); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v, want %q", text, err, words)
		}
	}
	for line, want := range map[string][]string{
		"a b  c": {"a", "b", "c"}, "a 'b c' ''": {"a", "b c", ""}, "x'y z'w": {"xy zw"}, "": nil,
	} {
		if got, err := words(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q is %q, %v", line, got, err)
		}
	}
	if _, err := words("a 'b"); err == nil {
		t.Error("an open quote is taken")
	}
	for _, c := range []struct {
		got, want string
		ok        bool
	}{{"a", "a", true}, {"dpkg/1", "dpkg/*", true}, {"dpkg/12", "dpkg/*", true}, {"dpkg", "dpkg/*", false}, {"redhat/1", "dpkg/*", false}, {"b", "a", false},
		{"u?x?(a=*)", "u?x?(a=*)", true}, {"u?x?(a=b)", "u?x?(a=*)", false}, {"dpkg/", "dpkg/*", true}} {
		if matches(c.got, c.want) != c.ok {
			t.Errorf("%q and %q", c.got, c.want)
		}
	}
}
