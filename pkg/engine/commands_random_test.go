package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
)

// claimsModel is what the queues should be: who stands on which name in which order,
// and which server each follows.
type claimsModel struct {
	queues  map[string][]string // of names
	servers map[string]int      // of ids
}

func (m *claimsModel) nameOf(id string) string {
	for name, q := range m.queues {
		if slices.Contains(q, id) {
			return name
		}
	}
	return ""
}

func (m *claimsModel) leave(id string) {
	name := m.nameOf(id)
	m.queues[name] = slices.DeleteFunc(m.queues[name], func(o string) bool { return o == id })
	if len(m.queues[name]) == 0 {
		delete(m.queues, name)
	}
}

func (m *claimsModel) join(id, name string) { m.queues[name] = append(m.queues[name], id) }

// R16, R24, R27, R35, R47, R54: whatever operators do in whatever order, while servers change and
// Shaft is restarted, queues and tree end as the commands say.
func TestRandomCommands(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			randomCommands(t, rand.New(rand.NewPCG(seed, 23)))
		})
	}
}

func randomCommands(t *testing.T, r *rand.Rand) {
	servers := []*ldaptest.Server{
		serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF}),
		serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF, PresentPhase: true}),
	}
	w := newWorld(t)
	m := &claimsModel{queues: map[string][]string{}, servers: map[string]int{}}
	names := []string{"cn=One", "cn=Two", "cn=in,cn=One", "cn=Three,ou=deep"}
	ids := []string{"a", "b", "c", "d"}
	w.add("a", names[0], w.source(servers[0], suffix))
	m.join("a", names[0])
	for round := range 40 {
		id, to, server := ids[r.IntN(len(ids))], names[r.IntN(len(names))], r.IntN(2)
		at := m.nameOf(id)
		what := r.IntN(8)
		switch {
		case at == "" && what < 6:
			w.add(id, to, w.source(servers[server], suffix))
			m.join(id, to)
			m.servers[id] = server
		case what == 0:
			w.remove(id)
			m.leave(id)
		case what == 1:
			if _, err := w.e.RemoveName(t.Context(), at, 0, false); err != nil {
				t.Fatal(err)
			}
			m.leave(m.queues[at][0])
		case what == 2 && !strings.HasSuffix(to, ","+at):
			w.set(id, map[string]string{"name": to})
			if to != at {
				m.leave(id)
				m.join(id, to)
			}
		case what == 3:
			w.set(id, map[string]string{"port": fmt.Sprint(w.source(servers[server], suffix).Port)})
			m.servers[id] = server
		case what == 4:
			_, err := w.e.ResyncName(t.Context(), at, false)
			must(t, err)
		case what == 5:
			randomApply(w, r, m, servers, ids)
		case what == 6:
			randomWrites(t, r, servers[server])
		case what == 7:
			w.restart()
		}
		w.awaitModel(m, servers, fmt.Sprintf("round %d, %d of %s to %s", round, what, id, to))
		w.check()
		w.checkStored()
	}
	w.restart()
	for _, task := range w.tasks() {
		if task.State == TaskRefused || task.State == TaskFailed && task.What != "name resync" && task.What != "full load" && task.What != "first load" {
			t.Errorf("%+v", task)
		}
	}
}

// randomApply exports, takes one out or changes its server, and applies that with prune.
func randomApply(w *world, r *rand.Rand, m *claimsModel, servers []*ldaptest.Server, ids []string) {
	d, err := w.e.Export(w.t.Context())
	must(w.t, err)
	gone := ""
	if n := len(d.Subscriptions); n > 0 && r.IntN(2) == 0 {
		at := r.IntN(n)
		gone = d.Subscriptions[at].ID
		m.leave(gone)
		d.Subscriptions = slices.Delete(d.Subscriptions, at, at+1)
	}
	for i := range d.Subscriptions {
		if s := &d.Subscriptions[i]; r.IntN(3) == 0 {
			server := r.IntN(2)
			s.Source.Port, m.servers[s.ID] = w.source(servers[server], suffix).Port, server
		}
	}
	for _, id := range ids {
		if id != gone && m.nameOf(id) == "" && r.IntN(2) == 0 && !slices.ContainsFunc(d.Subscriptions, func(s Subscription) bool { return s.ID == id }) {
			d.Subscriptions = append(d.Subscriptions, Subscription{ID: id, Name: "cn=Two", Source: w.source(servers[0], suffix)})
			m.join(id, "cn=Two")
			m.servers[id] = 0
		}
	}
	w.apply(*d, true)
}

// awaitModel waits until queues and tree are what the model says.
func (w *world) awaitModel(m *claimsModel, servers []*ldaptest.Server, when string) {
	w.t.Helper()
	list, err := w.e.Names(w.t.Context())
	must(w.t, err)
	got := map[string][]string{}
	for _, n := range list {
		q := []string{n.Head.Claim}
		for _, l := range n.Queue {
			q = append(q, l.Claim)
		}
		got[strings.ToLower(strings.TrimSuffix(n.DN, ","+baseDN))] = q
	}
	want := map[string]string{}
	for name, q := range m.queues {
		if !slices.Equal(got[strings.ToLower(name)], q) || len(got) != len(m.queues) {
			w.t.Fatalf("%s: the queues are %v, wanted %v", when, got, m.queues)
		}
		for dn, entry := range w.upstreamContent(servers[m.servers[q[0]]], suffix, name+","+baseDN) {
			want[strings.ToLower(dn)] = entry[strings.IndexByte(entry, ' '):]
		}
	}
	var now map[string]string
	await(w.t, when, func() bool {
		now = map[string]string{}
		for dn, entry := range w.content() {
			now[strings.ToLower(dn)] = entry[strings.IndexByte(entry, ' '):]
		}
		return maps.Equal(now, want)
	})
}
