package engine

import (
	"context"
	"errors"
	"fmt"

	"shaft/pkg/dit"
	"shaft/pkg/upstream"
)

// ForwardsBinds tells whether content begins at a name, and whether who binds as one of
// its entries, which is of the claim with that number, is judged by its source; an entry
// of another claim never is. It may be called by anyone at any time, and waits
// for nothing.
func (e *Engine) ForwardsBinds(claim uint32, at dit.DN) (forwards, begins bool) {
	v, begins := e.tops.Load(at.Norm())
	if !begins {
		return false, false
	}
	t := v.(*top)
	return t.forward && !t.lingers && t.claim.number == claim, true
}

// Bind has the source of the content that begins at a name judge a password of the entry
// dn, of the claim with that number, which it knows by its own DN. An error tells why it could not be asked. Nothing is
// remembered, and it waits for nobody but that source. It may be called by anyone until
// Close.
func (e *Engine) Bind(ctx context.Context, claim uint32, at, dn dit.DN, password []byte) (right bool, err error) {
	t, there, err := e.there(claim, at, dn)
	switch {
	case err != nil:
		return false, err
	case t == nil || claim == 0 || !t.forward:
		return false, fmt.Errorf("no passwords are sent to the source of %s", at)
	}
	err = e.passes.Try(ctx, t.source, there.String(), password, e.o.Upstream)
	if no, ok := errors.AsType[*upstream.Refused](err); ok {
		e.log.Debug("forwarded bind refused by the source", "subscription", t.subscription, "dn", there.String(), "reason", no.Words)
		return false, nil
	}
	return err == nil, err
}
