package engine

import (
	"fmt"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/upstream"
)

// Standing is how fresh a name's content is (R37).
type Standing struct {
	Subscription string
	SourceURL    string    // without credentials
	LastContact  time.Time // zero: never
	LastChange   time.Time // zero: it is empty
	// Stale: the source is down, or was removed, and what it had is shown still.
	Stale bool
}

// top is the claim whose content stands at a name, with what of it the engine
// goroutine alone may read.
type top struct {
	claim        *claim
	subscription string
	url          string
	source       upstream.Source
	forward      bool // passwords are judged there
	lingers      bool
}

// Standing tells of the content that is shown at a name, by the normal form of
// its DN; false where no name's content begins. It may be called by anyone at any
// time, and waits for nothing.
func (e *Engine) Standing(norm string) (Standing, bool) {
	v, there := e.tops.Load(norm)
	if !there {
		return Standing{}, false
	}
	t := v.(*top)
	s := t.claim.current()
	return Standing{
		Subscription: t.subscription, SourceURL: t.url, LastContact: s.LastContact, LastChange: t.claim.lastChange(),
		Stale: t.lingers || s.State == upstream.Down || s.State == upstream.Unsupported,
	}, true
}

// Origins gives LDAP URLs of the entry dn at its source, where the content of one
// begins at top; none where the source was removed, or the content is of another claim
// than the one with the number claim (0: of any). begins is false where no content
// does. It may be called by anyone at any time, and waits for nothing.
func (e *Engine) Origins(claim uint32, at, dn dit.DN) (urls []string, begins bool) {
	t, there, err := e.there(claim, at, dn)
	if err != nil || t == nil {
		return nil, t != nil
	}
	return t.source.EntryURLs(there), true
}

// there gives the content that begins at a name, nil for none, and the DN that an entry
// of it has at its source; an error where that is not known. What is published and what
// stands at names change one after the other: an entry of another claim is not of that content.
func (e *Engine) there(claim uint32, at, dn dit.DN) (t *top, there dit.DN, err error) {
	v, begins := e.tops.Load(at.Norm())
	if !begins {
		return nil, there, nil
	}
	t = v.(*top)
	rel, under := dn.Rel(at)
	base, err := dit.ParseDN(e.o.Schema, t.source.Base)
	switch {
	case err != nil:
		return t, there, err
	case claim != 0 && claim != t.claim.number:
		return t, there, fmt.Errorf("what is at %s is being replaced", at)
	case t.lingers:
		return t, there, fmt.Errorf("the source of %s was removed", at)
	case !under:
		return t, there, fmt.Errorf("%s is not below %s", dn, at)
	}
	return t, rel.Join(base), nil
}

// setPlaced notes that a claim's content stands at a name.
func (e *Engine) setPlaced(norm string, cl *claim) {
	e.placed[norm] = cl
	e.retell(cl)
}

func (e *Engine) unplace(norm string) {
	delete(e.placed, norm)
	e.tops.Delete(norm)
}

// retell has doors see what a claim is now, if its content is shown.
func (e *Engine) retell(cl *claim) {
	norm := cl.name.Norm()
	if e.placed[norm] != cl {
		return
	}
	l := e.lingering[norm]
	t := &top{claim: cl, subscription: cl.sub.ID, source: cl.source, forward: cl.sub.ForwardBind, lingers: l != nil && l.cl == cl}
	if urls := cl.source.URLs(); len(urls) > 0 { // of what lingers over a restart it is not known any more
		t.url = urls[0]
	}
	e.tops.Store(norm, t)
}

// touched notes a change of the claim's content.
func (c *claim) touched(csn dit.CSN) {
	if csn > dit.CSN(c.changed.Load()) {
		c.changed.Store(uint64(csn))
	}
}

// lastChange is the time of the newest change, zero before the first.
func (c *claim) lastChange() time.Time {
	if csn := dit.CSN(c.changed.Load()); csn != 0 {
		return csn.Time()
	}
	return time.Time{}
}
