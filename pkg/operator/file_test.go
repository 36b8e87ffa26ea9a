package operator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/pkg/engine"
	"shaft/pkg/upstream"
)

// full is a document with every field of a subscription, and texts that YAML and
// JSON each find hard.
func full() Document {
	src := upstream.Source{Protocol: "ldap", Host: "ldap.example", Port: 3890, Socket: "/run/ldapi", Servers: []upstream.Server{{Protocol: "ldaps", Host: "b", Port: 636}},
		Base: `cn=a\,b #c: d,o=Müller 漢字 😀`, Attributes: []string{"cn", "mail;lang-de", "2.5.4.3"}, Filter: "(&(cn=*)(sn=\\2a))", Scope: "one", StartTLS: true,
		BindDN: "cn=r", PasswordFile: "/etc/pw", CAFile: "/etc/ca", SASLExternal: true, CertFile: "/etc/c", KeyFile: "/etc/k",
		Poll: upstream.Interval(90 * time.Second), NewCookieEnds: true, UUIDFromDN: true}
	plain := upstream.Source{Protocol: "ldap", Host: "h", Filter: "(objectClass=*)", Scope: "sub"}
	percent, minimum := 100, 0
	d := Document{Subscriptions: []Request{
		{ID: "all", Kind: "list", Name: "cn=%(attr.cn)s, ou=%%", Source: src, ContentFilter: "(sn=*)", ContentAttributes: []string{"sn"}, NoDNRewrite: true, KeepWarm: true, ForwardBind: true,
			GuardPercent: &percent, GuardMinimum: &minimum, NoGuard: true},
	}}
	for i, name := range []string{"yes", "~", "null", "1", "0x1f", "1:30", "2026-01-01", "- a", "a: b", "a #b", " lead", "trail ", "", "two\nlines", "tab\t", "\x1b[2J",
		"\u2028", "\u0085", "'", `"`, "*a", "&a", "!a", "%a", "@a", "`a", "|", ">", "<<", "=", ".inf", "1e3", strings.Repeat("long ", 100)} {
		d.Subscriptions = append(d.Subscriptions, Request{ID: fmt.Sprint("n", i), Kind: "tree", Name: name, Source: plain})
		d.Decisions = append(d.Decisions, engine.Decision{List: "all", Entry: fmt.Sprint(i), Name: name, Rename: name, Suppressed: i%2 == 0})
	}
	return d
}

// R54: what export prints, apply reads back whole, as YAML and as JSON; the same
// document gives the same bytes.
func TestDocumentComesBack(t *testing.T) {
	d := full()
	var text, again bytes.Buffer
	if err := printDocument(&text, d); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	for name, form := range map[string][]byte{"YAML": text.Bytes(), "JSON": asJSON} {
		f := readDocument("file", "/", form)
		if err := f.err(); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(f.doc, d) {
			for i := range f.doc.Subscriptions {
				if !reflect.DeepEqual(f.doc.Subscriptions[i], d.Subscriptions[i]) {
					t.Errorf("%s: got\n%+v\nwant\n%+v", name, f.doc.Subscriptions[i], d.Subscriptions[i])
				}
			}
		}
		again.Reset()
		if err := printDocument(&again, f.doc); err != nil || again.String() != text.String() {
			t.Errorf("%s: printed again (%v)\n%s\nfirst\n%s", name, err, &again, &text)
		}
	}
}

// R56: each fault is named with its line, column and subscription, all of them
// at once; what is sound beside them is read.
func TestDocumentFaults(t *testing.T) {
	for _, c := range []struct {
		text  string
		words []string
		sound int
	}{
		{"subscriptions:\n  - id: a\n    nam: cn=a\n  - id: b\n    name: cn=b\n", []string{`f:3:5: subscription "a": unknown key "nam"`, `f:2:5: subscription "a": name is missing`}, 1},
		{"subscriptions:\n  - id: a\n    name: cn=a\n    source:\n      port: many\n      starttls: 1\n      hots: h\n  - 7\n",
			[]string{`f:5:13: subscription "a": "many" is not a whole number`, `f:6:17: subscription "a": "1" is not true or false`, `f:7:7: subscription "a": unknown key "hots"`, `f:8:5: a mapping is needed here`}, 0},
		{"subscriptions:\n  - {id: a, name: cn=a, id: b}\n", []string{`f:2:25: subscription "a": id stands here twice`}, 0},
		{"subscriptions:\n  - {id: a, name: null}\n", []string{`subscription "a": "null" is not a string`}, 0},
		{"subscriptions:\n  - {id: a, name: [cn=a]}\n", []string{`f:2:19: subscription "a": a string is needed here`}, 0},
		{"subscriptions:\n  - {id: a, name: cn=a, source: {poll: often}}\n", []string{`"often" is no time span`}, 0},
		{"subscriptions:\n  - {id: a, name: cn=a, source: {poll: [5m]}}\n", []string{`f:2:40: subscription "a": a text is needed here`}, 0},
		{"subscriptions:\n  - {id: a, name: cn=a, source: {attributes: cn}}\n", []string{"a list is needed here"}, 0},
		{"subscriptions:\n  - {id: a, name: cn=a, source: ldap://h}\n", []string{"a mapping is needed here"}, 0},
		{"subscriptions:\n  - {id: a, name: cn=a, source: {port: 99999999999999999999}}\n", []string{"is not a whole number"}, 0},
		{"subscriptions:\n  - &x {id: a, name: cn=a}\n  - *x\n", []string{"f:2:5: anchors and aliases are not taken", "f:3:5: anchors and aliases"}, 0},
		{"subscriptions:\n  - {id: a, name: !!str cn=a}\n", []string{"tags are not taken"}, 0},
		{"subscriptions:\n  - {id: a, <<: {name: cn=a}}\n", []string{`unknown key "<<"`, "name is missing"}, 0},
		{"subscriptions:\n  - {id: a, name: cn=a, [x]: y}\n", []string{`unknown key ""`}, 0},
		{"subscriptions:\n  - {id: a, name: cn=a}\ndecisions:\n  - {list: l, entry: e, name: cn=x, suppresed: true}\n  - {list: l, entry: e}\n",
			[]string{`f:4:37: unknown key "suppresed"`, "f:5:5: name is missing"}, 1},
		{"subscriptions: []\ndecisions: {}\n", []string{"f:2:12: a list is needed here"}, 0},
		{"subscription: []\n", []string{`f:1:1: unknown key "subscription"`, "f:1:1: subscriptions is missing"}, 0},
		{"subscriptions: null\n", []string{"f:1:16: a list is needed here"}, 0},
		{"- a\n", []string{"f:1:1: a mapping is needed here"}, 0},
		{"text", []string{"f:1:1: a mapping is needed here"}, 0},
		{"null", []string{"f:1:1: a mapping is needed here"}, 0},
		{"", []string{"f: it is empty"}, 0},
		{"# nothing\n", []string{"f: it is empty"}, 0},
		{"subscriptions: []\n---\nsubscriptions: []\n", []string{"f:2:1: a second document"}, 0},
		{"subscriptions:\n  - id: a\n   name: b\n", []string{"f:2:1: did not find expected"}, 0},
		{"subscriptions: [\n", []string{"did not find"}, 0},
		{"a: \"\\ud83d\\ude00\"\n", []string{"f:1:1: "}, 0},
		{"\xff\xfe", []string{"f: not UTF-8 text"}, 0},
		{"subscriptions: [\x00]", []string{"control characters"}, 0},
		{`{"subscriptions":[{"id":"a","name":"cn=a"},` + "\n" + ` {"id":"b","nom":5}]}`, []string{`f:2:12: subscription "b": unknown key "nom"`, `f:2:2: subscription "b": name is missing`}, 1},
		{`{"subscriptions":[{"id":5,"name":true,"source":{"port":1.5,"starttls":"true"}}]}`, []string{`"1.5" is not a whole number`, `"true" is not true or false`}, 0},
		{strings.Repeat("[", 50) + strings.Repeat("]", 50), []string{"nested deeper than 32"}, 0},
		{strings.Repeat("[", 100_000), []string{"f:1:1: "}, 0},
		{strings.Repeat("- ", 100_000), []string{"f:1:1: "}, 0},
		{`{"subscriptions":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + "}", []string{"nested deeper than 32"}, 0},
		{strings.Repeat("#", maxDocument+1), []string{"f: longer than 8 MiB"}, 0},
		{bomb(), []string{"anchors and aliases are not taken"}, 0},
	} {
		f := readDocument("f", "/", []byte(c.text))
		err := f.err()
		if err == nil {
			t.Errorf("%.100q is taken", c.text)
			continue
		}
		for _, want := range c.words {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%.100q: no %q in\n%.500s", c.text, want, err)
			}
		}
		if len(f.doc.Subscriptions) != c.sound || len(f.places) != c.sound {
			t.Errorf("%.100q: %d sound subscriptions", c.text, len(f.doc.Subscriptions))
		}
		if !strings.Contains(err.Error(), "nothing has changed") {
			t.Errorf("%.100q: %.200s", c.text, err)
		}
	}
}

// bomb is a document whose aliases unfold to billions.
func bomb() string {
	text := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 12; i++ {
		text += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return text + "subscriptions: *a11\n"
}

// What YAML takes for a number or a truth value is a text where one is needed.
func TestDocumentPlainTexts(t *testing.T) {
	f := readDocument("f", "/", []byte("subscriptions:\n  - {id: 42, name: yes, source: {host: 10, starttls: yes, port: 389}}\n"))
	if err := f.err(); err == nil || !strings.Contains(err.Error(), `"yes" is not true or false`) || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("%v", err)
	}
	f = readDocument("f", "/", []byte("subscriptions:\n  - {id: 42, name: yes, source: {host: 10, starttls: true}}\n"))
	if err := f.err(); err != nil || f.doc.Subscriptions[0].ID != "42" || f.doc.Subscriptions[0].Name != "yes" || f.doc.Subscriptions[0].Source.Host != "10" {
		t.Errorf("%v %+v", err, f.doc)
	}
}

// Paths in a file are relative to the file, as in shaft.yaml.
func TestDocumentPaths(t *testing.T) {
	dir := t.TempDir()
	f := readDocument("f", dir, []byte("subscriptions:\n  - {id: a, name: b, source: {password_file: pw, ca_file: /etc/ca, certificate: ../c, key: k}}\n"))
	src := f.doc.Subscriptions[0].Source
	if err := f.err(); err != nil || src.PasswordFile != filepath.Join(dir, "pw") || src.CAFile != "/etc/ca" ||
		src.CertFile != filepath.Join(filepath.Dir(dir), "c") || src.KeyFile != filepath.Join(dir, "k") {
		t.Errorf("%v %+v", err, src)
	}
}

// What the daemon says is wrong gets its place from the file; faults stand in
// the file's order.
func TestDocumentPlaces(t *testing.T) {
	f := readDocument("f", "/", []byte("# comment\nsubscriptions:\n  - {id: a, name: a}\n  - {id: b, name: b}\n"))
	f.add(engine.Faults{{Subscription: "b", Field: "source.filter", Reason: "unbalanced"}, {Subscription: "a", Reason: "odd"}, {Reason: "no base"}})
	want := "3 faults, nothing has changed\nf: no base\nf:3:5: subscription \"a\": odd\nf:4:5: subscription \"b\": source.filter: unbalanced"
	if err := f.err(); err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

// The places of JSON are those of its text, halves of characters included.
func TestJSONNode(t *testing.T) {
	n, err := jsonNode([]byte("{\n  \"ä\": [1, \"\\ud83d\\ude00\",\n true, null, 1.5e9]\n}"))
	if err != nil || len(n.Content) != 2 {
		t.Fatal(err, n)
	}
	var got []string
	for _, c := range n.Content[1].Content {
		got = append(got, fmt.Sprintf("%d:%d %s %s", c.Line, c.Column, c.Tag, c.Value))
	}
	want := []string{"2:9 !!int 1", "2:12 !!str 😀", "3:2 !!bool true", "3:8 !!null null", "3:14 !!float 1.5e9"}
	if !slices.Equal(got, want) || n.Content[0].Line != 2 || n.Content[0].Column != 3 {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzDocument: a file is refused with a reason, or taken, and then it survives
// being printed and read again.
func FuzzDocument(f *testing.F) {
	var text bytes.Buffer
	if err := printDocument(&text, full()); err != nil {
		f.Fatal(err)
	}
	f.Add(text.Bytes())
	f.Add([]byte(`{"subscriptions":[{"id":"a","name":"cn=a","urls":["ldap://h"]}]}`))
	f.Add([]byte("subscriptions:\n- &a {id: a, name: *a}\n"))
	f.Add([]byte("subscriptions: # none\n  []\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		d := readDocument("f", "/", text)
		if d.err() != nil {
			return
		}
		var printed, again bytes.Buffer
		if err := printDocument(&printed, d.doc); err != nil {
			t.Fatal(err)
		}
		back := readDocument("f", "/", printed.Bytes())
		if err := back.err(); err != nil {
			t.Fatalf("%q becomes %q: %v", text, &printed, err)
		}
		if err := printDocument(&again, back.doc); err != nil || again.String() != printed.String() {
			t.Errorf("%q becomes %q, then %q (%v)", text, &printed, &again, err)
		}
	})
}
