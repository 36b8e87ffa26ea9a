package ldapd

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// slapdFollower starts a real slapd that mirrors the world, with more lines for its
// syncrepl directive.
func (w *world) slapdFollower(t *testing.T, lines ...string) *ldaptest.Slapd {
	t.Helper()
	directive := []string{
		"syncrepl rid=001", "provider=ldap://" + w.addr, `retry="1 +"`, fmt.Sprintf("searchbase=%q", base),
		`attrs="*,+"`, "bindmethod=simple",
	}
	return ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: base, Database: strings.Join(append(directive, lines...), "\n  ")})
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// mirrored gives the entries of a slapd by entryUUID, each as its DN and sorted lines.
func mirrored(s *ldaptest.Slapd) map[string]string {
	all := map[string]string{}
	for _, block := range strings.Split(s.Dump(), "\n\n") {
		var keep []string
		uuid := ""
		for _, line := range strings.Split(strings.TrimSpace(block), "\n") {
			name, v, _ := strings.Cut(line, ": ")
			switch name {
			case "entryUUID":
				uuid = v
			case "dn", "objectClass", "cn", "description", "entryCSN", "structuralObjectClass":
				keep = append(keep, line)
			}
		}
		if uuid != "" {
			slices.Sort(keep)
			all[uuid] = strings.Join(keep, "\n")
		}
	}
	return all
}

// served gives the same of a version.
func served(v *tree.Version, scope tree.Scope, at tree.ID) map[string]string {
	all := map[string]string{}
	for c := v.Search(tree.Query{Base: at, Scope: scope}); c.Next(); {
		e := c.Entry()
		keep := []string{"dn: " + string(e.DN())}
		for _, run := range []dit.Run{e.User(), e.Oper(), e.AppendKept(nil)} {
			for desc, vals, rest, ok := run.Next(); ok; desc, vals, rest, ok = rest.Next() {
				switch string(desc) {
				case "objectClass", "cn", "description", "entryCSN", "structuralObjectClass":
					for r := ber.NewReader(vals); r.More(); {
						one, _ := r.Read(ber.OctetString)
						keep = append(keep, string(desc)+": "+string(one))
					}
				}
			}
		}
		slices.Sort(keep)
		all[e.Row().UUID.String()] = strings.Join(keep, "\n")
	}
	return all
}

// follows waits until a slapd holds what the world serves.
func (w *world) follows(t *testing.T, s *ldaptest.Slapd) {
	t.Helper()
	v := w.b.Version()
	want := served(v, tree.Sub, v.Root())
	var got map[string]string
	defer func() {
		if t.Failed() {
			for u := range want {
				if got[u] != want[u] {
					t.Logf("%s is %q, wants %q", u, got[u], want[u])
				}
			}
			for u := range got {
				if want[u] == "" {
					t.Logf("%s is too many: %q", u, got[u])
				}
			}
			t.Logf("log of slapd:\n%s", s.Log())
		}
	}()
	eventually(t, "slapd has what is served", func() bool {
		got = mirrored(s)
		return maps.Equal(got, want)
	})
}

// Invariant 10, R40: a slapd that mirrors random histories, and is stopped and killed meanwhile,
// ends with what is served; where the log has been forgotten, too.
func TestSlapdMirrorsRandomHistories(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r, kills := rand.New(rand.NewPCG(seed, 13)), rand.New(rand.NewPCG(seed, 14))
			c := &chaos{newWorld(t), r}
			change := func() {
				c.edit(func(b *tree.Builder) {
					for range 1 + r.IntN(3) {
						c.change(b)
					}
				})
			}
			c.edit(func(b *tree.Builder) { c.put(b, 1, "cn=top", "x") })
			s := c.slapdFollower(t, "type=refreshAndPersist", "schemachecking="+[]string{"off", "on"}[seed%2])
			for range 30 {
				c.follows(t, s)
				switch r.IntN(6) {
				case 0:
					n, told := r.IntN(5), kills.IntN(4)
					if told = min(told, n); seed%2 == 1 {
						told = 0
					}
					for range told {
						change()
					}
					if told > 0 { // amid what it is being told
						s.Kill()
					} else {
						s.Stop()
					}
					for range n - told {
						change()
					}
					if r.IntN(2) == 0 {
						c.b.forget(r)
					}
					s.Start()
				default:
					change()
				}
			}
		})
	}
}
