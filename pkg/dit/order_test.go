package dit

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// R38: entries in the order of sort keys (RFC 2891): by several keys, reversed, by
// the least of several values, without a value last, or first in reverse.
func TestR38Order(t *testing.T) {
	entry := func(name string, pairs ...string) (string, Run) {
		var run Run
		for i := 0; i < len(pairs); i += 2 {
			run = AppendAttr(run, pairs[i], strings.Split(pairs[i+1], "|")...)
		}
		return name, run
	}
	type named struct {
		name string
		run  Run
	}
	var entries []named
	add := func(name string, run Run) { entries = append(entries, named{name, run}) }
	add(entry("a", "sn", "Zimmer|Abel", "uidNumber", "10"))
	add(entry("b", "sn", "abel", "uidNumber", "9", "cn;lang-de", "x"))
	add(entry("c", "sn", "Abelson", "uidNumber", "-1"))
	add(entry("d", "uidNumber", "100"))
	add(entry("e", "sn", "Öl"))
	add(entry("f", "sn", "a\x00", "uidNumber", "bad|7"))
	for _, tt := range []struct {
		keys []OrderKey
		want string
	}{
		{[]OrderKey{{Attr: "sn"}, {Attr: "uidNumber"}}, "f b a c e d"},
		{[]OrderKey{{Attr: "sn"}, {Attr: "uidNumber", Reverse: true}}, "f a b c e d"},
		{[]OrderKey{{Attr: "sn", Reverse: true}, {Attr: "uidNumber"}}, "d e c b a f"},
		{[]OrderKey{{Attr: "uidNumber"}}, "c f b a d e"},
		{[]OrderKey{{Attr: "uidNumber", Reverse: true}}, "e d a b f c"},
		{[]OrderKey{{Attr: "uidNumber", Rule: "2.5.13.15"}}, "c f b a d e"},
		{[]OrderKey{{Attr: "name"}, {Attr: "uidNumber"}}, "f b a c e d"},
		{[]OrderKey{{Attr: "cn;lang-de"}, {Attr: "uidNumber"}}, "b c f a d e"},
		{[]OrderKey{{Attr: "SN", Rule: "caseExactOrderingMatch"}}, "a c f b e d"},
	} {
		o, _, err := NewOrder(testSchema, tt.keys)
		if err != nil {
			t.Errorf("%+v: %v", tt.keys, err)
			continue
		}
		list := slices.Clone(entries)
		rand.New(rand.NewPCG(1, 1)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		slices.SortFunc(list, func(x, y named) int {
			return bytes.Compare(o.Append(nil, x.run, nil), o.Append(nil, y.run, nil))
		})
		var got []string
		for _, e := range list {
			got = append(got, e.name)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%+v: %v, want %s", tt.keys, got, tt.want)
		}
	}
}

// R38: keys without an order are told apart, and operational attributes asked for.
func TestR38OrderKeys(t *testing.T) {
	for _, tt := range []struct {
		key  OrderKey
		want error
		oper bool
	}{
		{OrderKey{Attr: "cn"}, nil, false},
		{OrderKey{Attr: "mail"}, nil, false},
		{OrderKey{Attr: "createTimestamp"}, nil, true},
		{OrderKey{Attr: "entryUUID"}, nil, true},
		{OrderKey{Attr: "entryCSN", Reverse: true}, nil, true},
		{OrderKey{Attr: "noSuchThing"}, ErrUnknownAttribute, false},
		{OrderKey{}, ErrUnknownAttribute, false},
		{OrderKey{Attr: "manager"}, ErrNoOrder, false},
		{OrderKey{Attr: "jpegPhoto"}, ErrNoOrder, false},
		{OrderKey{Attr: "cn", Rule: "noSuchRule"}, ErrNoOrder, false},
		{OrderKey{Attr: "cn", Rule: "caseIgnoreMatch"}, ErrNoOrder, false},
		{OrderKey{Attr: "cn", Rule: "integerOrderingMatch"}, ErrNoOrder, false},
		{OrderKey{Attr: "uidNumber", Rule: "caseIgnoreOrderingMatch"}, ErrNoOrder, false},
	} {
		o, bad, err := NewOrder(testSchema, []OrderKey{{Attr: "sn"}, tt.key})
		if !errors.Is(err, tt.want) || err != nil && bad != 1 || err == nil && o.NeedsOper() != tt.oper {
			t.Errorf("%+v: key %d, %v", tt.key, bad, err)
		}
	}
	o, _, err := NewOrder(testSchema, []OrderKey{{Attr: "createTimestamp"}})
	if err != nil {
		t.Fatal(err)
	}
	one := o.Append(nil, nil, AppendAttr(nil, "createTimestamp", "20240101000000Z"))
	two := o.Append(nil, nil, AppendAttr(nil, "createTimestamp", "20240101010000.5+0030"))
	if none := o.Append(nil, nil, nil); bytes.Compare(one, two) >= 0 || bytes.Compare(two, none) >= 0 {
		t.Errorf("%x, %x, %x", one, two, none)
	}
}

// FuzzR38Order: keys of two values stand as their normal forms do, whatever is in them.
func FuzzR38Order(f *testing.F) {
	f.Add("a", "a\x00", "b", true)
	f.Add("a", "ab", "", false)
	f.Fuzz(func(t *testing.T, a, b, second string, reverse bool) {
		o, _, err := NewOrder(testSchema, []OrderKey{{Attr: "userPassword", Rule: "octetStringOrderingMatch", Reverse: reverse}, {Attr: "sn"}})
		if err != nil {
			t.Fatal(err)
		}
		key := func(v string) []byte {
			return o.Append(nil, AppendAttr(AppendAttr(nil, "userPassword", v), "sn", second), nil)
		}
		want := strings.Compare(a, b)
		if reverse {
			want = -want
		}
		if got := bytes.Compare(key(a), key(b)); got != want {
			t.Errorf("%q and %q: %d, want %d", a, b, got, want)
		}
	})
}
