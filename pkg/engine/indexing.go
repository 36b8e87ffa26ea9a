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

// fewPages is how many pages of rows may have changed for the writer to take them up itself, as many as one
// commit touches: a few milliseconds.
const fewPages = 512

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
		if err := e.makeIndex(ctx); err == nil {
			e.log.Info("the index is there", "took", now().Sub(begun).Round(time.Millisecond))
		} else if ctx.Err() == nil {
			e.log.Error("the index is not made: until the next start searches walk", "error", err)
		}
	}()
}

// makeIndex goes over what is served, and over what has changed since, until that is little; the
// writer does the rest.
func (e *Engine) makeIndex(ctx context.Context) (err error) {
	defer unreadable(&err)
	x := e.Version().Index()
	for given := false; !given; {
		if err := x.Reach(ctx, e.Version()); err != nil {
			return err
		}
		var reached error
		err := e.do(ctx, func() { given, reached = e.giveIndex(ctx, x, fewPages) })
		if err != nil || reached != nil {
			return cmp.Or(reached, err)
		}
	}
	return nil
}

// giveIndex publishes the version that is served with its index, if that is behind by so many pages at most; the writer's.
func (e *Engine) giveIndex(ctx context.Context, x *tree.Indexing, most int) (given bool, err error) {
	defer unreadable(&err)
	v := e.Version()
	if x.Behind(v) > most {
		return false, nil
	}
	if err := x.Reach(ctx, v); err != nil {
		return false, err
	}
	indexed := x.Into(v)
	if e.newest == v { // else it is what could not be written, and nothing comes of it
		e.newest = indexed
	}
	e.version.Store(indexed)
	e.announce()
	return true, nil
}
