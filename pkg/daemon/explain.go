package daemon

import (
	"context"
	"errors"

	"shaft/pkg/access"
	"shaft/pkg/queue"
)

// ExplainAccess asks the LDAP door, which opens a moment after the control socket.
func (o operated) ExplainAccess(_ context.Context, dn string, as []string) (*access.Explanation, error) {
	door := o.d.door.Load()
	if door == nil {
		return nil, errors.New("the LDAP door is not open yet; try again")
	}
	e, err := door.ExplainAccess(dn, as)
	if err != nil {
		return nil, &queue.Refusal{Kind: queue.KindInvalid, Reason: err.Error()}
	}
	return e, nil
}
