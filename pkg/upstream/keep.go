package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"shaft/pkg/ber"
)

// errFull ends a shared connection that answers no more requests. slapd works on
// as many operations of a connection as it has threads, by halves; a search in its
// persist stage is one of them for ever, and with too many the connection answers
// nothing any more, not even to an abandon.
var errFull = errors.New("the server answers no further request on a connection with so many searches")

// keeper is a connection's own goroutine. It asks the server who am I (RFC 4532)
// when nothing came for Idle, and closes the connection when the server then is
// silent for Patience. On a shared connection it asks too when a search was begun
// beside others, and when its refresh is over, and closes the connection when
// that is not answered. It sends the abandons.
//
// While the reader waits for a consumer nothing is expected of the server.
type keeper struct {
	w     *wire
	o     Options
	timer *time.Timer

	reads, held int64     // as they were at since
	since       time.Time // when something was heard or asked
	asked       *search   // who am I is on its way
	trial       time.Time // when it was asked for the sake of a new search; zero: it was not
}

// keep starts the keeper.
func (c *conn) keep(o Options) {
	k := &keeper{w: c.wire, o: o, timer: time.NewTimer(o.Idle)}
	c.goes.Go(k.run)
}

func (k *keeper) run() {
	defer k.timer.Stop()
	k.hear()
	for {
		var fresh, answer <-chan struct{}
		if k.asked == nil {
			fresh = k.w.fresh
		} else {
			answer = k.asked.more
		}
		select {
		case <-k.w.closed:
			return
		case id := <-k.w.unwanted:
			k.abandon(id)
		case <-fresh:
			k.ask()
			k.trial = k.since
		case <-answer:
			k.asked.end()
			k.asked, k.trial = nil, time.Time{}
			k.hear()
		case <-k.timer.C:
			k.late()
		}
		k.timer.Reset(k.limit())
	}
}

// hear notes that the server was heard now.
func (k *keeper) hear() {
	k.reads, k.held, k.since = k.w.reads.Load(), k.w.held.Load(), time.Now()
}

// heard tells whether it was since, or could not have been.
func (k *keeper) heard() bool {
	held := k.w.held.Load()
	return k.w.reads.Load() != k.reads || held != k.held || held%2 == 1
}

// limit is how long from now something is to happen.
func (k *keeper) limit() time.Duration {
	switch {
	case k.asked == nil:
		return time.Until(k.since.Add(k.o.Idle))
	case !k.trial.IsZero():
		return min(time.Until(k.trial.Add(k.o.trial)), time.Until(k.since.Add(k.o.Patience)))
	}
	return time.Until(k.since.Add(k.o.Patience))
}

// late is called when nothing happened until limit.
func (k *keeper) late() {
	if k.w.held.Load() != k.held && !k.trial.IsZero() {
		k.trial = time.Now()
	}
	switch {
	case !k.trial.IsZero() && time.Since(k.trial) >= k.o.trial:
		k.w.fail(errFull)
	case k.heard():
		k.hear()
	case k.asked == nil:
		k.ask()
	case time.Since(k.since) >= k.o.Patience:
		k.w.fail(fmt.Errorf("the server is silent for %v and does not answer", k.o.Idle+k.o.Patience))
	}
}

// ask sends a who am I. Any answer will do, a refusal too.
func (k *keeper) ask() {
	var err error
	if k.asked, err = k.w.begin(context.Background(), false, appendWhoAmI); err != nil {
		k.asked = nil // the wire is closed
	}
	k.hear()
}

func (k *keeper) abandon(id int32) {
	s, err := k.w.begin(context.Background(), false, func(own int32) []byte { return appendAbandon(nil, own, id) })
	if err != nil {
		return // the wire is closed
	}
	k.w.mu.Lock()
	delete(k.w.searches, s.id)
	k.w.mu.Unlock()
}

// appendWhoAmI encodes an ExtendedRequest (RFC 4532 section 2.1).
func appendWhoAmI(id int32) []byte {
	msg, mark := ber.Begin(nil, ber.Sequence)
	msg = ber.AppendInt(msg, ber.Integer, int64(id))
	msg, body := ber.Begin(msg, ber.Tag(0x77))
	msg = ber.AppendString(msg, ber.ContextPrimitive(0), "1.3.6.1.4.1.4203.1.11.3")
	return ber.End(ber.End(msg, body), mark)
}
