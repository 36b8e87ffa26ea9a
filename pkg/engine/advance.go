package engine

import (
	"context"

	"shaft/pkg/dit"
)

// Advance publishes a version with a newer CSN and nothing else changed, once it is
// stored: what followers were told before can be told apart from what they are
// told from then on. It gives that CSN.
func (e *Engine) Advance(ctx context.Context) (csn dit.CSN, err error) {
	doErr := e.do(ctx, func() {
		ed := e.edit(nil)
		ed.batch.CSN = e.nextCSN()
		if err = e.commit(&ed.batch); err == nil {
			csn = ed.batch.CSN
			e.publish(ed)
		}
	})
	if doErr != nil {
		return 0, doErr
	}
	return csn, err
}
