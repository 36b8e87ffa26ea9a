package engine

import (
	"context"
	"slices"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/upstream"
)

// R17: a source that is this Shaft, or follows it, is refused, and nothing is
// left of it; the identity outlives a restart.
func TestR17LoopIsRefused(t *testing.T) {
	w := newWorld(t)
	us := w.e.Instance()
	if len(us) != 36 {
		t.Fatalf("the instance is %q", us)
	}
	w.restart()
	if w.e.Instance() != us {
		t.Errorf("after a restart the instance is %s, it was %s", w.e.Instance(), us)
	}
	for _, dse := range []map[string][]string{
		{"shaftInstance": {us}},
		{"shaftInstance": {"another"}, "shaftUpstream": {"a third", strings.ToUpper(us)}},
	} {
		s := serve(t, ldaptest.Options{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF, RootDSE: dse})
		_, err := w.e.AddSubscription(context.Background(), Subscription{ID: "x", Name: "cn=x", Source: w.source(s, ldaptest.SuSeSuffix)}, false)
		if err == nil || !strings.Contains(err.Error(), "loop") {
			t.Errorf("%v: %v", dse, err)
		}
	}
	if names, err := w.e.Names(context.Background()); err != nil || len(names) > 0 {
		t.Errorf("names %v, %v", names, err)
	}
}

// R17: what is followed is told, whoever it is learned from, for as long as it
// is subscribed to; a server that is away is still followed.
func TestR17Upstreams(t *testing.T) {
	w := newWorld(t)
	s := serve(t, ldaptest.Options{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	for _, id := range []string{"a", "b"} {
		w.add(id, "cn="+id, w.source(s, ldaptest.SuSeSuffix))
		w.awaitLive("cn=" + id)
	}
	for _, c := range []struct {
		sub    string
		status upstream.Status
		want   []string
	}{
		{"a", upstream.Status{State: upstream.Live}, nil},
		{"a", upstream.Status{State: upstream.Refreshing, Instances: []string{"two", "one"}}, []string{"one", "two"}},
		{"b", upstream.Status{State: upstream.Polling, Instances: []string{"three", "one"}}, []string{"one", "three", "two"}},
		{"a", upstream.Status{State: upstream.Down}, []string{"one", "three", "two"}},
		{"a", upstream.Status{State: upstream.Connecting}, []string{"one", "three", "two"}},
		{"gone", upstream.Status{State: upstream.Live, Instances: []string{"four"}}, []string{"one", "three", "two"}},
		{"a", upstream.Status{State: upstream.Live}, []string{"one", "three"}}, // its server is no Shaft any more
	} {
		if err := w.e.do(context.Background(), func() { w.e.learnInstances(&Subscription{ID: c.sub}, c.status) }); err != nil {
			t.Fatal(err)
		}
		if got := w.e.Upstreams(); !slices.Equal(got, c.want) {
			t.Errorf("%s reports %+v: followed are %q, want %q", c.sub, c.status, got, c.want)
		}
	}
	s.Down() // so that nothing is learned anew
	w.restart()
	if got := w.e.Upstreams(); !slices.Equal(got, []string{"one", "three"}) {
		t.Errorf("after a restart %q are followed", got)
	}
	if _, err := w.e.RemoveSubscription(context.Background(), "b", false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := w.e.Upstreams(); len(got) > 0 {
			t.Errorf("after the removal %q are followed", got)
		}
		w.restart()
	}
}
