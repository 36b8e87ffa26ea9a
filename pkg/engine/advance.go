package engine

import (
	"cmp"
	"context"

	"shaft/pkg/dit"
)

// Advance publishes a version with a newer CSN and nothing else changed, once it is
// stored: what followers were told before can be told apart from what they are
// told from then on. It gives that CSN. With ctx done it is not waited for any more, and may be
// published later.
func (e *Engine) Advance(ctx context.Context) (dit.CSN, error) {
	type outcome struct {
		csn dit.CSN
		err error
	}
	told := make(chan outcome, 1)
	advance := func() {
		ed := e.edit(nil)
		ed.batch.CSN = e.nextCSN()
		var err error
		lost := e.guarded(func() {
			if err = e.commit(&ed.batch); err == nil {
				e.publish(ed)
			}
		})
		told <- outcome{ed.batch.CSN, cmp.Or(lost, err)}
	}
	select {
	case e.cmds <- advance:
	case <-e.done:
		return 0, ErrClosed
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select {
	case out := <-told:
		return out.csn, out.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
