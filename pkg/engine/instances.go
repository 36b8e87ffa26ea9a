package engine

import (
	"maps"
	"slices"

	"shaft/pkg/upstream"
)

// Instance is this store's identity, and Upstreams those of the Shafts that are
// followed, transitively: what the root DSE shows, by which loops are found (R17).
// Both may be called by anyone at any time.
func (e *Engine) Instance() string { return e.store.Instance().String() }

// Upstreams: see Instance. The slice is not to be changed.
func (e *Engine) Upstreams() []string {
	if ids := e.upstreams.Load(); ids != nil {
		return *ids
	}
	return nil
}

// learnInstances takes what a subscription's server tells of itself. A server
// that is away is still followed: what it told before counts.
func (e *Engine) learnInstances(sub *Subscription, s upstream.Status) {
	if !s.Online() || e.subs[sub.ID] == nil || slices.Equal(e.shafts[sub.ID], s.Instances) {
		return
	}
	e.shafts[sub.ID] = s.Instances
	e.publishUpstreams()
}

// forgetInstances is for a subscription that went.
func (e *Engine) forgetInstances(id string) {
	delete(e.shafts, id)
	e.publishUpstreams()
}

func (e *Engine) publishUpstreams() {
	all := map[string]bool{}
	for _, ids := range e.shafts {
		for _, id := range ids {
			all[id] = true
		}
	}
	list := slices.Sorted(maps.Keys(all))
	e.upstreams.Store(&list)
}
