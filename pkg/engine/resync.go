package engine

import (
	"context"
	"fmt"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/upstream"
)

// Resynced is the outcome of a resync, which has begun then and goes on as its task; or of
// its dry run, an audit, which compares what is stored with the source and changes nothing.
type Resynced struct {
	DN       string        `json:"dn"`
	Claim    queue.ClaimID `json:"claim"`
	Audited  bool          `json:"audited"`
	Same     int           `json:"same"`
	Missing  []string      `json:"missing"` // remote DNs that are not here; at most 100 of each
	Surplus  []string      `json:"surplus"` // that are here and not there
	Differ   []string      `json:"differ"`  // with other content or another DN
	Counts   [3]int        `json:"counts"`  // of missing, surplus, differ
	Warnings []string      `json:"warnings"`
	Task     uint64        `json:"task,omitempty"`
	DryRun   bool          `json:"dry_run,omitempty"`
}

// ResyncName loads the content of a name's head again in full: the cookie is
// dropped, and what is served stays until the load is complete, which the task
// tells. Its dry run is an audit.
func (e *Engine) ResyncName(ctx context.Context, dn string, dryRun bool) (out *Resynced, err error) {
	name, err := e.localName(dn)
	if err != nil {
		return nil, err
	}
	number, err := e.command(ctx, "name resync", name.String(), dryRun, func(t *task) error {
		var a *audit
		doErr := e.do(ctx, func() {
			var cl *claim
			if cl, out, err = e.headOf(name); err != nil {
				return
			}
			if out.DryRun = dryRun; dryRun {
				a, err = e.newAudit(cl, out)
			} else {
				err = e.resync(cl, out, t)
			}
		})
		if doErr != nil {
			return doErr
		}
		if err != nil || a == nil {
			return err
		}
		return a.run(ctx)
	})
	if err != nil {
		return nil, err
	}
	out.Task = number
	return out, nil
}

// headOf finds the claim whose content a name shows.
func (e *Engine) headOf(name dit.DN) (*claim, *Resynced, error) {
	n := e.state.Names[name.Norm()]
	if n == nil {
		return nil, nil, notFound("name", name.String())
	}
	cl := e.claims[n.Head()]
	return cl, &Resynced{
		DN: n.Text, Claim: n.Head(), Missing: []string{}, Surplus: []string{}, Differ: []string{}, Warnings: []string{},
	}, nil
}

// resync begins the load.
func (e *Engine) resync(cl *claim, out *Resynced, t *task) error {
	t.step(e.o.Now(), "resync", true, fmt.Sprintf("the cookie of %s is dropped; what is served stays until the load is complete", cl.id))
	b := store.Batch{Records: []store.Record{t.record()}}
	if cl.gen > 0 {
		b.Cookies = []store.Claim{{ID: cl.number, Server: cl.taken.with(cl.server)}}
	}
	if err := e.endHold(&b, string(cl.id)); err != nil {
		return err
	}
	if err := e.commit(&b); err != nil {
		return err
	}
	e.reapHolds()
	if s := cl.current(); s.State == upstream.Down || s.State == upstream.Unsupported {
		out.Warnings = append(out.Warnings, fmt.Sprintf("the source is %s: %s; the load begins when that is over", s.State, s.Reason))
	}
	e.unfollow(cl)
	e.notLoading(cl)
	cl.cookie = nil
	newLoad(t).join(cl)
	e.follow(cl)
	e.log.Info("resync begun", "claim", cl.id)
	return nil
}
