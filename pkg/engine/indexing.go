package engine

import (
	"cmp"
	"context"
	"time"

	"shaft/pkg/tree"
)

// indexing is the goroutine that makes the index of what a start has loaded, while that is served and changed.
type indexing struct {
	stop context.CancelFunc
	done chan struct{} // closed at its end
}

const (
	// fewPages is how many pages of rows may have changed for the writer to take them up itself, in the first round: a few
	// milliseconds. Each round allows twice as many, so that large commits that follow each other do not put it off for long.
	fewPages = 512
	// indexAgain is how long after a value could not be read back the index is begun anew; twice as long each time, up to
	// indexAgainMost.
	indexAgain     = 2 * time.Second
	indexAgainMost = time.Minute
)

// beginIndexing begins to make the index where there is none.
func (e *Engine) beginIndexing() {
	ctx, stop := context.WithCancel(context.Background())
	e.indexing = indexing{stop, make(chan struct{})}
	if e.newest.Indexed() {
		close(e.indexing.done)
		return
	}
	now := e.o.Now
	begun := now()
	go func() {
		defer close(e.indexing.done)
		e.log.Info("the index is being made: until it is there searches walk", "entries", e.Version().Len())
		again := time.NewTimer(indexAgain)
		defer again.Stop()
		for pause := indexAgain; ; pause = min(2*pause, indexAgainMost) {
			err := e.makeIndex(ctx)
			if err == nil {
				e.log.Info("the index is there", "took", now().Sub(begun).Round(time.Millisecond))
			}
			if err == nil || ctx.Err() != nil {
				return
			}
			if pause == indexAgain {
				e.log.Error("the index is not made: it is tried again, and searches walk meanwhile", "error", err)
			}
			again.Reset(pause)
			select {
			case <-again.C:
			case <-ctx.Done():
				return
			}
		}
	}()
}

// makeIndex goes over what is served, and over what has changed since, until that is little; the
// writer does the rest.
func (e *Engine) makeIndex(ctx context.Context) (err error) {
	defer unreadable(&err)
	x := e.Version().Index()
	for most, given := fewPages, false; !given; most *= 2 {
		if err := x.Reach(ctx, e.Version()); err != nil {
			return err
		}
		var reached error
		err := e.do(ctx, func() { given, reached = e.giveIndex(ctx, x, most) })
		if err != nil || reached != nil {
			return cmp.Or(reached, err)
		}
	}
	return nil
}

// giveIndex publishes the newest version with its index, if that is behind by so many pages at most; the writer's.
func (e *Engine) giveIndex(ctx context.Context, x *tree.Indexing, most int) (given bool, err error) {
	defer unreadable(&err)
	v := e.newest
	if x.Behind(v) > most {
		return false, nil
	}
	if err := x.Reach(ctx, v); err != nil {
		return false, err
	}
	e.newest = x.Into(v)
	e.show()
	return true, nil
}
