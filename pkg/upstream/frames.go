package upstream

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"time"

	"shaft/pkg/ber"
)

// quiet is how long a search keeps its buffers while nothing comes.
const quiet = time.Second

// frames is the consumer's end of a search: its messages, one after the other.
// While it waits each must come within patience, where that is not 0; as long
// as the sink is busy nothing is expected of the server.
type frames struct {
	ctx      context.Context
	search   *search
	patience time.Duration

	rest []byte // of buf, not given yet
	buf  []byte // what was taken last
	err  error  // why there are no more
}

// Next implements syncrepl.Frames.
func (f *frames) Next() ([]byte, error) {
	if len(f.rest) == 0 {
		if f.err = f.advance(); f.err != nil {
			return nil, f.err
		}
	}
	n, err := ber.FrameLen(f.rest, math.MaxInt)
	if err != nil {
		return nil, err // cannot be: the wire cut it
	}
	frame := f.rest[:n:n]
	f.rest = f.rest[n:]
	return frame, nil
}

// Buffered implements syncrepl.Frames.
func (f *frames) Buffered() bool { return len(f.rest) > 0 || f.search.waiting() }

// advance takes what came, and waits when that is nothing.
func (f *frames) advance() (err error) {
	used := f.buf
	f.buf = nil
	for {
		got, err := f.search.take(used)
		if err != nil {
			return err
		}
		if got != nil {
			f.buf, f.rest = got, got
			return nil
		}
		idle, err := f.await(used != nil)
		if err != nil {
			return err
		}
		if idle {
			used = nil
			f.search.letGo()
		}
	}
}

// await waits for the server; idle tells that nothing came for a while, where
// that is of interest.
func (f *frames) await(holding bool) (idle bool, err error) {
	var late <-chan time.Time
	if f.patience > 0 || holding {
		timer := time.NewTimer(cmp.Or(f.patience, quiet))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-f.search.more:
		return false, nil
	case <-f.search.w.closed:
		if f.search.waiting() { // what was cut before the connection closed
			return false, nil
		}
		return false, lost(f.search.w.cause())
	case <-f.ctx.Done():
		return false, context.Cause(f.ctx)
	case <-late:
	}
	if f.patience == 0 {
		return true, nil
	}
	return false, fmt.Errorf("the server sent no message for %v during the refresh", f.patience)
}
