package engine

import (
	"maps"
	"slices"
	"strings"

	"shaft/pkg/store"
	"shaft/pkg/upstream"
)

// Instance is this store's identity, another one after a restore, and Upstreams those of the Shafts that are
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
// that is away is still followed: what it told before counts, over restarts too.
func (e *Engine) learnInstances(sub *Subscription, s upstream.Status) {
	if !s.Online() || e.subs[sub.ID] == nil || slices.Equal(e.shafts[sub.ID], s.Instances) {
		return
	}
	if len(s.Instances) == 0 {
		e.forgetInstances(sub.ID) // it is no Shaft any more
		return
	}
	e.shafts[sub.ID] = s.Instances
	e.publishUpstreams()
	e.storeInstances(sub.ID, []byte(strings.Join(s.Instances, "\n")))
}

// forgetInstances is for a subscription that went.
func (e *Engine) forgetInstances(id string) {
	if _, known := e.shafts[id]; !known {
		return
	}
	delete(e.shafts, id)
	e.publishUpstreams()
	e.storeInstances(id, nil)
}

// storeInstances writes them down; nil removes them.
func (e *Engine) storeInstances(id string, value []byte) {
	if e.failed != nil {
		return
	}
	if err := e.commit(&store.Batch{Records: []store.Record{{Name: recordInstances + id, Value: value}}}); err != nil {
		e.log.Error("identities of what is followed not stored", "subscription", id, "error", err)
	}
}

// loadInstances reads them at the start, those of subscriptions that are there.
func (e *Engine) loadInstances() error {
	err := e.store.Records(recordInstances, func(name string, value []byte) error {
		if id := strings.TrimPrefix(name, recordInstances); e.subs[id] != nil {
			e.shafts[id] = strings.Split(string(value), "\n")
		}
		return nil
	})
	e.publishUpstreams()
	return err
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
