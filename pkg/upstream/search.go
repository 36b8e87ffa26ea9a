package upstream

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"shaft/pkg/ber"
	"shaft/pkg/syncrepl"
)

const (
	// searchBuffer bounds what is read ahead of one search's consumer: four
	// reads, so that the hand-over is smooth. One message may be larger, alone.
	searchBuffer = 4 * chunkSize

	// maxShared bounds a message on a shared connection, since each search there
	// may hold one; a larger entry takes a connection of its own.
	maxShared = 1 << 20

	// maxSharedRefresh bounds a refresh on a shared connection: at 100 MB/s the
	// others wait for most of a second behind it.
	maxSharedRefresh = 64 << 20

	// maxHeld is how long one search may keep the reader of a shared connection
	// waiting, in all: longer than a collection of garbage or a commit takes, and
	// no longer than an operator takes for "live".
	maxHeld = time.Second

	// forgiving is the share of the time that has gone by since that a search is
	// forgiven: one that always is a little slow holds the others up by a tenth.
	forgiving = 10

	// maxBehind bounds what waits of a sync search while its consumer reads
	// another one on the same connection, which the reader must not keep from it.
	maxBehind = 8 << 20
)

// errAlone gives a search up that is too much for a shared connection.
var errAlone = errors.New("goes on with a connection of its own")

// search is one request on a wire and the messages that answer it: whole ones, one
// behind the other. The reader puts them in, the consumer takes all at once.
type search struct {
	w    *wire
	id   int32
	sync bool

	more chan struct{} // holds a token when in was empty and is not, or err was set
	room chan struct{} // holds a token when in was taken, or err was set

	mu      sync.Mutex
	in      []byte
	err     error         // nothing more is put in
	heard   bool          // a message came
	settled bool          // the refresh is over: its octets do not count
	large   bool          // it set the wire's large
	octets  int           // that came in the refresh
	behind  bool          // the consumer reads another search: nothing waits for it
	owed    time.Duration // how long the reader waited, less what is forgiven
	since   time.Time     // when owed was right
}

// deliver takes messages from the reader, and waits for room. Only the end of the
// connection is an error.
func (s *search) deliver(run []byte) error {
	if s == nil || len(run) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = true
	if s.err == nil {
		s.limit(run)
	}
	for s.err == nil && len(s.in) > 0 && len(s.in)+len(run) > searchBuffer {
		if s.behind {
			if len(s.in)+len(run) > maxBehind {
				s.give(fmt.Errorf("too much changed while a subtree was fetched: %w", syncrepl.ErrReload))
			}
			break
		}
		if err := s.await(); err != nil {
			return err
		}
	}
	if s.err != nil {
		return nil
	}
	if len(s.in) == 0 {
		signal(s.more)
	}
	s.in = append(s.in, run...)
	return nil
}

// limit gives the search up when it is too much for a connection that others are
// on. Where it is alone, none is to join it before a refresh that became large is over.
func (s *search) limit(run []byte) {
	if !s.settled {
		s.octets += len(run)
	}
	if !s.w.contended() {
		if !s.settled && !s.large && s.octets > maxSharedRefresh/4 {
			s.large = true
			s.w.large.Store(true)
		}
		return
	}
	switch {
	case len(run) > maxShared+chunkSize:
		s.give(fmt.Errorf("a message of more than %d bytes came: the search %w", maxShared, errAlone))
	case !s.settled && s.octets > maxSharedRefresh:
		s.give(fmt.Errorf("the refresh has more than %d bytes: the search %w", maxSharedRefresh, errAlone))
	}
}

// await lets the consumer take what is there. It wants the lock, and gives it
// away meanwhile.
func (s *search) await() error {
	begun := time.Now()
	s.owed = max(0, s.owed-begun.Sub(s.since)/forgiving)
	timer := time.NewTimer(maxHeld - s.owed)
	defer timer.Stop()
	s.mu.Unlock()
	s.w.held.Add(1)
	waits, timely := true, true
	var err error
	for waits {
		waits = false
		select {
		case <-s.room:
		case <-timer.C:
			if timely = !s.w.contended(); timely {
				waits = true
				timer.Reset(maxHeld)
			}
		case <-s.w.closed:
			err = errClosed
		}
	}
	s.w.held.Add(1)
	s.mu.Lock()
	s.since = time.Now()
	if s.w.contended() {
		s.owed += s.since.Sub(begun)
	}
	if !timely && s.err == nil {
		s.give(fmt.Errorf("it was taken too slowly for a connection that others share: the search %w", errAlone))
	}
	return err
}

// give gives the search up. It wants the lock.
func (s *search) give(err error) {
	if s.err != nil {
		return
	}
	s.err, s.in = err, nil
	s.shrink()
	signal(s.more)
	signal(s.room)
}

// take gives what came since, in exchange for a buffer that is used up; nothing and
// no error when nothing did.
func (s *search) take(used []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.in) == 0 {
		return nil, s.err
	}
	got := s.in
	s.in = used[:0]
	signal(s.room)
	return got, nil
}

// letGo frees the buffer when nothing is in it.
func (s *search) letGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.in) == 0 {
		s.in = nil
	}
}

// waiting tells whether something is there.
func (s *search) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.in) > 0
}

// settle ends the counting of octets: the refresh is over.
func (s *search) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = true
	s.shrink()
	if s.w.shared.Load() {
		signal(s.w.fresh)
	}
}

// persists tells whether the refresh is over.
func (s *search) persists() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settled
}

// shrink lets others join again. It wants the lock.
func (s *search) shrink() {
	if s.large {
		s.large = false
		s.w.large.Store(false)
	}
}

// fallBehind says whether the consumer is at another search now.
func (s *search) fallBehind(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = yes
	if yes {
		signal(s.room)
	}
}

// answered tells whether a message came, and whether the search was given up.
func (s *search) answered() (heard, given bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard, s.err != nil
}

// giveUp gives the search up because of err.
func (s *search) giveUp(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.give(err)
}

// end is the consumer's leave. A search that still runs is abandoned (RFC 4511
// section 4.11), which has no answer: what still comes of it is dropped.
func (s *search) end() {
	s.giveUp(errClosed)
	w := s.w
	w.mu.Lock()
	_, runs := w.searches[s.id]
	delete(w.searches, s.id)
	w.mu.Unlock()
	if !runs || w.cause() != nil {
		return
	}
	select {
	case w.unwanted <- s.id:
	default:
		w.fail(errClogged)
	}
}

// appendAbandon encodes an AbandonRequest.
func appendAbandon(dst []byte, id, target int32) []byte {
	dst, mark := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendInt(dst, ber.Integer, int64(id))
	dst = ber.AppendInt(dst, ber.Tag(0x50), int64(target))
	return ber.End(dst, mark)
}
