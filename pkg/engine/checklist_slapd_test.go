package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// What slapd does as an upstream, played by a slapd and followed by the engine.

const slapdBase = "ou=base," + suffix

// slapdLDIF has what is followed, ou=base, and a place beside it.
var slapdLDIF = "dn: o=Source\nobjectClass: organization\no: Source\n\n" +
	unit("ou=base,o=Source") + unit("ou=a,ou=base,o=Source") + unit("ou=b,ou=base,o=Source") +
	person("cn=1,ou=a,ou=base,o=Source") + person("cn=2,ou=a,ou=base,o=Source") + person("cn=1,ou=b,ou=base,o=Source") +
	unit("ou=out,o=Source") + unit("ou=x,ou=out,o=Source") + person("cn=1,ou=x,ou=out,o=Source") +
	unit("ou=y,ou=x,ou=out,o=Source") + person("cn=2,ou=y,ou=x,ou=out,o=Source")

func unit(dn string) string   { return one(dn, "organizationalUnit") }
func person(dn string) string { return one(dn, "organizationalRole") }

func one(dn, class string) string {
	rdn, _, _ := strings.Cut(dn, ",")
	attr, value, _ := strings.Cut(rdn, "=")
	return fmt.Sprintf("dn: %s\nobjectClass: %s\n%s: %s\n\n", dn, class, attr, value)
}

func rename(dn, rdn string) string {
	return fmt.Sprintf("dn: %s\nchangetype: modrdn\nnewrdn: %s\ndeleteoldrdn: 1\n\n", dn, rdn)
}

func relocate(dn, parent string) string {
	rdn, _, _ := strings.Cut(dn, ",")
	return strings.TrimSuffix(rename(dn, rdn), "\n") + "newsuperior: " + parent + "\n\n"
}

func removal(dns ...string) (out string) {
	for _, dn := range dns {
		out += "dn: " + dn + "\nchangetype: delete\n\n"
	}
	return out
}

func describe(dn, text string) string {
	return fmt.Sprintf("dn: %s\nchangetype: modify\nreplace: description\ndescription: %s\n\n", dn, text)
}

// followSlapd has an engine follow the base of a new slapd.
func followSlapd(t *testing.T, o ldaptest.SlapdOptions) (*world, *ldaptest.Slapd) {
	t.Helper()
	o.Suffix, o.LDIF = suffix, slapdLDIF
	s := ldaptest.StartSlapd(t, o)
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, slapdBase))
	w.awaitEqual(s, slapdBase, name)
	w.awaitLive(name)
	return w, s
}

// slapdStep is a change of a slapd's content.
type slapdStep struct{ name, changes string }

// playOnSlapd has slapds go through the steps, with a session log and with a server ID,
// while they are followed and while not; after each the content is theirs. At the
// end look sees one.
func playOnSlapd(t *testing.T, steps []slapdStep, look func(t *testing.T, s *ldaptest.Slapd, o ldaptest.SlapdOptions, away bool)) {
	t.Helper()
	for _, o := range []ldaptest.SlapdOptions{{SessionLog: 1000}, {SID: 3}} {
		for _, away := range []bool{false, true} {
			t.Run(fmt.Sprintf("session log %d, away %v", o.SessionLog, away), func(t *testing.T) {
				t.Parallel()
				w, s := followSlapd(t, o)
				for _, step := range steps {
					if t.Log(step.name); away {
						w.away(func() { s.Apply(step.changes) })
					} else {
						s.Apply(step.changes)
					}
					w.awaitEqual(s, slapdBase, name)
					w.check()
				}
				w.awaitLive(name)
				look(t, s, o, away)
				w.restart()
			})
		}
	}
}

// away has the upstream change while nobody follows it.
func (w *world) away(change func()) {
	w.t.Helper()
	w.close()
	change()
	w.open()
}

// holds has every version that anyone can see hold these entries, until release.
func (w *world) holds(dns ...string) (release func()) {
	w.t.Helper()
	var norms []string
	for _, dn := range dns {
		parsed, err := dit.ParseDN(w.schema, dn)
		must(w.t, err)
		norms = append(norms, parsed.Norm())
	}
	return w.watch(func(v *tree.Version) {
		for i, norm := range norms {
			if at, _ := v.Find(norm); at == 0 {
				w.t.Errorf("%s was gone at %d", dns[i], v.CSN())
			}
		}
	})
}

// all is the DNs of the content, but for those that are named.
func (w *world) all(but ...string) (dns []string) {
	for dn := range w.content() {
		if !slices.Contains(but, dn) {
			dns = append(dns, dn)
		}
	}
	return dns
}

// R12, R35, R41: what slapd says of moves, swaps and re-creations, while it is
// followed and while it is not, in delete and in present phases.
func TestSlapdMoves(t *testing.T) {
	a, b := "ou=a,"+slapdBase, "ou=b,"+slapdBase
	steps := []slapdStep{
		{"two leaves swapped", rename("cn=1,"+a, "cn=t") + rename("cn=2,"+a, "cn=1") + rename("cn=t,"+a, "cn=2")},
		{"two subtrees swapped", rename(a, "ou=t") + rename(b, "ou=a") + rename("ou=t,"+slapdBase, "ou=b")},
		{"an entry made anew at its DN", removal("cn=1,"+b) + person("cn=1,"+b)},
		{"a subtree made anew at its DN", removal("cn=1,"+a, a) + unit(a) + person("cn=1,"+a)},
		{"a subtree moved out of the scope", relocate(b, "ou=out,"+suffix)},
		{"a name freed and taken by another", rename("cn=1,"+a, "cn=9") + person("cn=1,"+a)},
		{"a subtree moved, what is in it changed", unit("ou=c,"+slapdBase) + relocate(a, "ou=c,"+slapdBase) + describe("cn=1,ou=a,ou=c,"+slapdBase, "moved")},
		{"a child out of a tree that is deleted", relocate("cn=1,ou=a,ou=c,"+slapdBase, slapdBase) + removal("cn=9,ou=a,ou=c,"+slapdBase, "ou=a,ou=c,"+slapdBase, "ou=c,"+slapdBase)},
	}
	playOnSlapd(t, steps, func(*testing.T, *ldaptest.Slapd, ldaptest.SlapdOptions, bool) {})
}

// R12, R33, R35: the base is renamed: slapd says that it is gone, which is believed, and
// then 4096; it comes back with its own UUIDs. Renamed while nobody follows it, it
// is missing: nothing leaves.
func TestSlapdBaseRenamed(t *testing.T) {
	w, s := followSlapd(t, ldaptest.SlapdOptions{SessionLog: 1000})
	before := w.content()
	there, back := rename(slapdBase, "ou=new"), rename("ou=new,"+suffix, "ou=base")
	s.Apply(there + describe("ou=out,"+suffix, "slapd sees it with the next change"))
	w.awaitReason("down", "is not there")
	if n := len(w.content()); n != 0 {
		t.Errorf("%d entries are served of a base that slapd said is gone", n)
	}
	s.Apply(back)
	w.awaitEqual(s, slapdBase, name)
	w.awaitLive(name)
	w.away(func() { s.Apply(there) })
	release := w.holds(w.all()...)
	w.awaitReason("down", "is not there")
	await(t, "the alarm", func() bool { return slices.Contains(w.name(name).Alarms, "down") })
	if n := w.name(name); !n.LastKnownGood || n.Entries != len(before) {
		t.Errorf("%+v", n)
	}
	s.Apply(back)
	w.awaitLive(name)
	w.awaitEqual(s, slapdBase, name)
	release()
	w.check()
	w.restart()
}

// R12, R35: the base is deleted with all that is in it, and slapd leaves the search
// open; the one that is made in its place is another entry.
func TestSlapdBaseDeleted(t *testing.T) {
	a, b := "ou=a,"+slapdBase, "ou=b,"+slapdBase
	w, s := followSlapd(t, ldaptest.SlapdOptions{})
	old := w.uuid(name)
	gone := removal("cn=1,"+a, "cn=2,"+a, a, "cn=1,"+b, b, slapdBase)
	anew := unit(slapdBase) + unit(a) + person("cn=7,"+a)
	s.Apply(gone)
	await(t, "the base is gone", func() bool { return len(w.content()) == 0 })
	if state := w.name(name).Head.State; state != "live" {
		t.Errorf("the search is %s", state)
	}
	s.Apply(anew)
	w.awaitEqual(s, slapdBase, name)
	if now := w.uuid(name); now == old {
		t.Errorf("the base is another entry, and has still the UUID %s", now)
	}
	w.check()
	w.awaitLive(name)
	w.away(func() { s.Apply(removal("cn=7,"+a, a, slapdBase)) })
	release := w.holds(w.all()...)
	w.awaitReason("down", "is not there")
	release()
	s.Apply(anew)
	w.awaitEqual(s, slapdBase, name)
	w.check()
	w.restart()
}

// R12, R33, R35: a slapd that was restored from a backup refuses a cookie that is
// newer than itself: it is loaded in full, and nothing leaves before that.
func TestSlapdRestored(t *testing.T) {
	w, s := followSlapd(t, ldaptest.SlapdOptions{SessionLog: 1000})
	a := "ou=a," + slapdBase
	s.Stop()
	backup := s.Backup()
	s.Start()
	s.Apply(person("cn=lost,"+a) + describe("cn=1,"+a, "lost too") + removal("cn=2,"+a))
	w.awaitLive(name)
	w.awaitEqual(s, slapdBase, name)
	lost := "cn=lost,ou=a," + name
	s.Stop()
	release := w.holds(w.all(lost)...)
	w.awaitReason("down", "")
	s.Restore(backup)
	s.Start()
	w.awaitLive(name)
	w.awaitEqual(s, slapdBase, name)
	release()
	if !strings.Contains(s.Log(), "consumer state is newer than provider") {
		t.Errorf("slapd took the cookie:\n%s", s.Log())
	}
	w.check()
	w.restart()
}

// R12, R35: a slapd that was built anew takes the cookie of the one before: what it
// says, and what it leaves out, is believed; without its base it says nothing.
func TestSlapdRebuilt(t *testing.T) {
	for _, o := range []ldaptest.SlapdOptions{{}, {SessionLog: 1000}} {
		t.Run(fmt.Sprint("session log ", o.SessionLog), func(t *testing.T) {
			t.Parallel()
			w, s := followSlapd(t, o)
			before := len(w.content())
			release := w.holds(w.all()...)
			s.Stop()
			s.Rebuild("")
			s.Start()
			w.awaitReason("down", "is not there")
			s.Stop()
			w.awaitReason("down", "refused")
			s.Rebuild("dn: o=Source\nobjectClass: organization\no: Source\n")
			s.Start()
			w.awaitReason("down", "is not there")
			if now := w.name(name).Entries; now != before {
				t.Errorf("%d entries, there were %d", now, before)
			}
			release()
			s.Apply(unit(slapdBase) + unit("ou=z,"+slapdBase))
			w.awaitEqual(s, slapdBase, name)
			w.awaitLive(name)
			w.check()
			w.restart()
		})
	}
}
