package ldapd

import (
	"sync"
	"time"
)

const (
	// DefaultBindDelay is what the second try at one DN from one address waits
	// after a failed one; each further one waits twice as long as that before.
	DefaultBindDelay = 250 * time.Millisecond
	// maxBindDelay bounds it: some 200 guesses an hour.
	maxBindDelay = 16 * time.Second
	// maxBindWait is how long a bind may have to wait for its turn behind others
	// at the same DN; beyond it the answer is busy.
	maxBindWait = 32 * time.Second
	// freeFailures is how many binds from one address may fail before it is
	// slowed for every DN: many people may share one.
	freeFailures = 20
	// forgetFailures is after how long without a failure all is forgotten.
	forgetFailures = 10 * time.Minute
	// maxTallies bounds the memory: 100 bytes each.
	maxTallies = 20000
)

// tallyKey is an address, or a DN as it is tried from an address.
type tallyKey struct {
	from origin
	dn   string // normal form; "": the address as a whole
}

// tally counts failed binds.
type tally struct {
	failed int
	last   time.Time
	next   time.Time // when the next try may be looked at
}

// throttle makes whoever guesses passwords wait. A try waits before its
// password is looked at, so that not to wait for the answer wins nothing, and
// tries side by side queue up.
type throttle struct {
	delay time.Duration

	mu      sync.Mutex
	tallies map[tallyKey]*tally
}

// reserve gives a try's turn: how long it has to wait. ok is false when that is
// too long; then no turn is taken.
func (t *throttle) reserve(from origin, dn string, now time.Time) (wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	one, all := t.get(tallyKey{from, dn}, now), t.get(tallyKey{from: from}, now)
	shared := now // the turn in the line of the address
	if all != nil && all.next.After(now) {
		shared = all.next
	}
	turn := shared
	if one != nil && one.next.After(turn) {
		turn = one.next
	}
	if wait = turn.Sub(now); wait > maxBindWait {
		return wait, false
	}
	if all != nil {
		all.next = shared.Add(t.pause(all.failed, true))
	}
	if one != nil {
		one.next = turn.Add(t.pause(one.failed, false))
	}
	return wait, true
}

// pause is how long the try after one has to wait, when so many have failed.
func (t *throttle) pause(failed int, address bool) time.Duration {
	if address {
		failed -= freeFailures
	}
	if failed <= 0 {
		return 0
	}
	d := t.delay
	for ; failed > 1 && d < maxBindDelay; failed-- {
		d *= 2
	}
	if address { // one that many share is slowed, and never shut out
		d = min(d, 4*t.delay)
	}
	return min(d, maxBindDelay)
}

// get gives a tally that is not too old; nil for none.
func (t *throttle) get(key tallyKey, now time.Time) *tally {
	c := t.tallies[key]
	if c != nil && now.Sub(c.last) > forgetFailures && now.After(c.next) {
		delete(t.tallies, key)
		return nil
	}
	return c
}

// failed counts a failed bind.
func (t *throttle) failed(from origin, dn string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range []tallyKey{{from, dn}, {from: from}} {
		c := t.get(key, now)
		if c == nil {
			if len(t.tallies) >= maxTallies {
				t.sweep(now)
			}
			c = &tally{}
			t.tallies[key] = c
		}
		c.failed++
		c.last = now
		if next := now.Add(t.pause(c.failed, key.dn == "")); next.After(c.next) {
			c.next = next
		}
	}
}

// sweep makes room: what is old goes, and some of the rest if that is all new.
func (t *throttle) sweep(now time.Time) {
	for key := range t.tallies {
		t.get(key, now)
	}
	for key := range t.tallies {
		if len(t.tallies) < maxTallies*3/4 {
			break
		}
		delete(t.tallies, key)
	}
}

// passed forgets what failed at a DN, once the right password came.
func (t *throttle) passed(from origin, dn string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.tallies, tallyKey{from, dn})
}

// await waits for a turn, or the end of the connection; false for the latter.
func (c *conn) await(wait time.Duration) bool {
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.stopping:
		return false
	}
}
