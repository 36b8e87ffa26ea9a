package dit

import (
	"bytes"
	"strings"
	"testing"
)

// descs lists what is in a run.
func descs(r Run) string {
	var out []string
	for desc, _, rest, ok := r.Next(); ok; desc, _, rest, ok = rest.Next() {
		out = append(out, string(desc))
	}
	return strings.Join(out, " ")
}

// R38: attribute selection by names, OIDs, subtypes, options, *, +, 1.1, @class.
func TestR38Selection(t *testing.T) {
	const all = "objectClass cn cn;lang-de sn description mail manager uidNumber userPassword uid"
	const oper = "entryUUID createTimestamp structuralObjectClass hasSubordinates"
	for _, tt := range []struct {
		attrs      string
		user, oper string
		needsOper  bool
	}{
		{"", all, "", false},
		{"*", all, "", false},
		{"+", "", oper, true},
		{"* +", all, oper, true},
		{"1.1", "", "", false},
		{"1.1 cn", "cn cn;lang-de", "", false},
		{"cn", "cn cn;lang-de", "", false},
		{"CN", "cn cn;lang-de", "", false},
		{"commonName", "cn cn;lang-de", "", false},
		{"2.5.4.3", "cn cn;lang-de", "", false},
		{"cn;lang-de", "cn;lang-de", "", false},
		{"cn;LANG-DE", "cn;lang-de", "", false},
		{"cn;lang-en", "", "", false},
		{"name", "cn cn;lang-de sn", "", false},
		{"name;lang-de", "cn;lang-de", "", false},
		{"cn;lang-de sn", "cn;lang-de sn", "", false},
		{"uid cn sn mail", "cn cn;lang-de sn mail uid", "", false},
		{"* entryUUID", all, "entryUUID", true},
		{"+ cn", "cn cn;lang-de", oper, true},
		{"createTimestamp", "", "createTimestamp", true},
		{"noSuchAttribute", "", "", true},
		{"@person", "objectClass cn cn;lang-de sn description userPassword", "", false},
		{"@2.5.6.6", "objectClass cn cn;lang-de sn description userPassword", "", false},
		{"@person;lang-de", "cn;lang-de", "", false},
		{"@posixAccount", "objectClass cn cn;lang-de description uidNumber userPassword uid", "", false},
		{"@extensibleObject", all, "", false},
		{"@noSuchClass", "", "", false},
		{"@noSuchClass mail", "mail", "", false},
	} {
		sel := NewSelection(testSchema, strings.Fields(tt.attrs))
		user, op := Run(sel.Append(nil, personRun(), false, false)), Run(sel.Append(nil, operRun(), true, false))
		if descs(user) != tt.user || descs(op) != tt.oper || sel.NeedsOper() != tt.needsOper {
			t.Errorf("%q: %q and %q, needs oper %v", tt.attrs, descs(user), descs(op), sel.NeedsOper())
		}
		if err := append(user, op...).Check(); err != nil {
			t.Errorf("%q: %v", tt.attrs, err)
		}
		var wanted []string
		for _, desc := range strings.Fields(all + " " + oper) {
			if sel.Wants([]byte(desc)) {
				wanted = append(wanted, desc)
			}
		}
		if got := strings.Join(wanted, " "); got != strings.TrimSpace(tt.user+" "+tt.oper) {
			t.Errorf("%q wants %q", tt.attrs, got)
		}
	}
}

// R38: typesOnly gives the same attributes, each with an empty set.
func TestR38SelectionTypesOnly(t *testing.T) {
	for _, attrs := range []string{"*", "cn mail", "cn;lang-de"} {
		sel := NewSelection(testSchema, strings.Fields(attrs))
		whole, types := Run(sel.Append(nil, personRun(), false, false)), Run(sel.Append(nil, personRun(), false, true))
		if err := types.Check(); err != nil {
			t.Error(err)
		}
		if descs(types) != descs(whole) {
			t.Errorf("%q: types %q", attrs, descs(types))
		}
		for desc, vals, rest, ok := types.Next(); ok; desc, vals, rest, ok = rest.Next() {
			if len(vals) > 0 {
				t.Errorf("%q: %s has values %x", attrs, desc, vals)
			}
		}
	}
}

func TestSelectionAppends(t *testing.T) {
	before := []byte("before")
	if got := NewSelection(testSchema, nil).Append(before, personRun(), false, false); !bytes.Equal(got, append([]byte("before"), personRun()...)) {
		t.Errorf("the whole run: %x", got)
	}
	mail := AppendAttr(nil, "mail", "babs@example.com")
	sel := NewSelection(testSchema, []string{"mail"})
	if got := sel.Append(before, personRun(), false, false); !bytes.Equal(got, append([]byte("before"), mail...)) {
		t.Errorf("one attribute: %x", got)
	}
	dst, run := make([]byte, 0, 4096), personRun()
	if n := testing.AllocsPerRun(100, func() { sel.Append(dst, run, false, false) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNameSet(t *testing.T) {
	var small, large nameSet
	long := strings.Repeat("x", maxIndexed+20)
	names := []string{"cn", "CN", "commonName", "", "2.5.4.3", long}
	for _, name := range names {
		small.add(name)
		large.add(name)
	}
	for i := range 50 {
		large.add(strings.Repeat("a", i+1))
	}
	if len(small.list) != 4 || len(large.list) != 54 || large.index == nil {
		t.Errorf("%d and %d names", len(small.list), len(large.list))
	}
	for _, set := range []*nameSet{&small, &large} {
		for _, name := range []string{"cn", "Cn", "COMMONNAME", "2.5.4.3", long, strings.ToUpper(long)} {
			if !set.has([]byte(name)) {
				t.Errorf("%q is not in the set", name)
			}
		}
		for _, name := range []string{"", "sn", "cnn", long + "x", "y" + long[1:], "#n"} {
			if set.has([]byte(name)) {
				t.Errorf("%q is in the set", name)
			}
		}
	}
}
