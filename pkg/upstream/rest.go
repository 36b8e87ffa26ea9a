package upstream

import "time"

// maxResting bounds the searches that rest at a time; what is more is abandoned at once.
const maxResting = 4096

// rests leaves a search that is not wanted any more, and the place on the connection, to
// a slapd for a moment; what comes of it is dropped. false: both are the caller's to end.
//
// At a write slapd ends the searches whose base was renamed before, and to do so takes a
// lock of each one's connection, while it holds one of all searches. An abandon, or the
// end of the connection, takes them the other way round, and slapd (2.5) locks up for
// good when it comes amid that write. That is no rare coincidence: the rename is why the
// search is not wanted any more, and renames come in rows. What rests until the next
// write has been ended by slapd.
func (l *lease) rests(s *search) bool {
	if s == nil || l.shared == nil {
		return false
	}
	p := l.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if !l.mayRest(s) {
		return false
	}
	p.resting++
	l.shared.rest.Add(1)
	s.giveUp(errClosed)
	p.rests.Go(func() {
		l.rest(s)
		l.shared.rest.Add(-1)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.resting--
	})
	return true
}

// mayRest wants the pool's lock.
func (l *lease) mayRest(s *search) bool {
	select {
	case <-l.pool.closed:
		return false
	default:
		return l.shared.openLDAP && s.sound() && l.pool.resting < maxResting
	}
}

// rest is the goroutine of a search that rests.
func (l *lease) rest(s *search) {
	timer := time.NewTimer(l.resting)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.wire.closed:
	case <-l.pool.closed:
	}
	s.end()
	l.leave()
}

// sound tells whether the search is in its persist stage, or was ended by the server
// in it, and has not been given up for being too much.
func (s *search) sound() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settled && s.err == nil && s.w.cause() == nil
}

// Close ends what rests, and waits for it; from now on nothing does. The links are to
// be closed before. It may be called again.
func (p *Pool) Close() {
	p.mu.Lock()
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	p.mu.Unlock()
	p.rests.Wait()
}
