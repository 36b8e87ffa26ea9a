package queue

import (
	"fmt"
	"maps"
)

// world is what carrying out effects builds. Its content alone outlives a restart.
type world struct {
	sessions  map[ClaimID]string // "follow", "reload" or "probe"
	published map[string]ClaimID
	lists     map[string]bool
	lasting   map[string]uint32 // numbers, by normal form
	content   map[uint32]bool   // by the numbers of claims
}

func newWorld() *world {
	return &world{map[ClaimID]string{}, map[string]ClaimID{}, map[string]bool{}, map[string]uint32{}, map[uint32]bool{}}
}

func (w *world) act(s *State, effects []Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case Follow:
			w.begin(e.Claim, "follow")
		case Probe:
			w.begin(e.Claim, "probe")
		case Stop:
			delete(w.sessions, e.Claim)
		case Publish:
			w.published[e.Norm] = e.Claim
		case Withdraw:
			delete(w.published, e.Norm)
		case Reload:
			w.sessions[e.Claim] = "reload"
		case FollowList:
			w.lists[e.List] = true
		case StopList:
			delete(w.lists, e.List)
		case Lasting:
			w.lasting[e.Norm] = e.Number
		case Drop:
			delete(w.content, e.Number)
			maps.DeleteFunc(w.lasting, func(_ string, n uint32) bool { return n == e.Number })
		}
	}
}

// begin begins a session; one of another sort has to be stopped before.
func (w *world) begin(id ClaimID, session string) {
	if old := w.sessions[id]; old != "" && (old == "probe") != (session == "probe") {
		session = old + " and " + session
	}
	w.sessions[id] = session
}

// refreshed stores a claim's content, and ends the reload that it had, if it is the head.
func (w *world) refreshed(c *Claim) {
	w.content[c.Number] = true
	if w.sessions[c.ID] == "reload" {
		w.sessions[c.ID] = "follow"
	}
}

// restart leaves the content, drops of it what nobody knows any more, and does what is due.
func (w *world) restart(s *State) {
	needed := numbersOf(s)
	content := w.content
	maps.DeleteFunc(content, func(n uint32, _ bool) bool { return !needed[n] })
	*w = *newWorld()
	w.content = content
	w.act(s, Resume(s))
}

// check looks whether it is what the state asks for: heads followed, those that wait probed,
// each name shows what it is to show, and there is content of what has some and nothing else.
func (w *world) check(s *State) error {
	want := newWorld()
	want.act(s, Resume(s))
	switch {
	case !maps.Equal(w.sessions, want.sessions):
		return fmt.Errorf("the sessions are %v, and after a restart %v", w.sessions, want.sessions)
	case !maps.Equal(w.published, want.published):
		return fmt.Errorf("published are %v, and after a restart %v", w.published, want.published)
	case !maps.Equal(w.lists, want.lists):
		return fmt.Errorf("the lists are %v, and after a restart %v", w.lists, want.lists)
	case !maps.Equal(w.lasting, want.lasting):
		return fmt.Errorf("lasting is %v, and after a restart %v", w.lasting, want.lasting)
	case len(w.published) != len(s.Names):
		return fmt.Errorf("published are %v, and %d names", w.published, len(s.Names))
	}
	for norm := range s.Names {
		if n := w.shows(s, norm); n != shown(s, norm) {
			return fmt.Errorf("the name %q shows %d, and is to show %d", norm, n, shown(s, norm))
		}
	}
	for id, c := range s.Claims {
		session := "probe"
		if s.Names[c.Norm].Head() == id {
			session = "follow"
			if c.Reload {
				session = "reload"
			}
		}
		if w.sessions[id] != session || w.content[c.Number] != c.Good {
			return fmt.Errorf("of %+v the session is %q, not %q, and there is content: %v", c, w.sessions[id], session, w.content[c.Number])
		}
	}
	needed := numbersOf(s)
	for n := range w.content {
		if !needed[n] {
			return fmt.Errorf("there is content of %d, which nobody needs", n)
		}
	}
	return nil
}

// shows gives the number of the content that is served under a name; 0 where none is.
func (w *world) shows(s *State, norm string) uint32 {
	if n := w.lasting[norm]; n != 0 {
		return n
	}
	if c := s.Claims[w.published[norm]]; c != nil && w.content[c.Number] {
		return c.Number
	}
	return 0
}
