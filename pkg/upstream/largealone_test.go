package upstream

import (
	"strings"
	"sync"
	"testing"
)

// R15: a refresh that is alone on its connection may be of any size, and is not begun
// again for that; who comes meanwhile gets another connection, and who comes later
// shares the first.
func TestR15LargeRefreshAloneKeepsItsConnection(t *testing.T) {
	noLeak(t)
	sent, goOn := make(chan struct{}), make(chan struct{})
	reach, release := sync.OnceFunc(func() { close(sent) }), sync.OnceFunc(func() { close(goOn) })
	s := listen(t, &server{sync: func(s *session, r request) {
		if !strings.Contains(string(r.frame), "ou=u0,") {
			s.refresh(1, "c")
			return
		}
		for i := range maxSharedRefresh / 800 { // three times as much as makes it large, whatever sockets hold back
			s.message(entry(i))
		}
		reach()
		<-goOn
		s.refresh(maxSharedRefresh/600, "c")
	}})
	t.Cleanup(release)
	o, dials := pooled()
	large, meanwhile, later := newRecorder(), newRecorder(), newRecorder()
	follow(t, below(s.source(), 0), large, o)
	next(t, sent)
	follow(t, below(s.source(), 1), meanwhile, o)
	meanwhile.await(t, Live)
	if n := dials.Load(); n != 2 {
		t.Errorf("%d connections beside a large refresh", n)
	}
	release()
	large.await(t, Live)
	follow(t, below(s.source(), 2), later, o)
	later.await(t, Live)
	for name, r := range map[string]*recorder{"large": large, "meanwhile": meanwhile, "later": later} {
		if begins, _ := r.count(); begins != 1 {
			t.Errorf("%s began %d times", name, begins)
		}
	}
	if n := dials.Load(); n != 2 {
		t.Errorf("%d connections afterwards", n)
	}
}
