package ldapd

import (
	"errors"
	"fmt"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
)

// handle does one message. done: the client unbinds. A *disconnect ends the
// connection with a notice, another error without.
func (c *conn) handle(frame []byte) (done bool, err error) {
	canonical, scanErr := scan(frame)
	if scanErr != nil && !errors.Is(scanErr, errNesting) {
		return false, malformed(scanErr)
	}
	req, err := decodeRequest(frame)
	if err != nil {
		return false, malformed(err)
	}
	c.take(&req)
	switch req.op {
	case tagUnbind:
		return true, nil
	case tagAbandon:
		return false, c.handleAbandon(&req)
	}
	if scanErr != nil {
		return false, c.reply(&req, result{code: ldapserver.LDAPResultProtocolError,
			text: fmt.Sprintf("nested deeper than %d levels", maxNesting)})
	}
	ctl := &c.ctl
	*ctl = requestControls{}
	if req.controls != nil {
		if refusal := ctl.read(&req); refusal.code != 0 {
			return false, c.reply(&req, refusal)
		}
	}
	if ctl.proxied {
		return false, c.proxied(&req, ctl, canonical)
	}
	return false, c.dispatch(&req, ctl, canonical)
}

func (c *conn) dispatch(req *request, ctl *requestControls, canonical bool) (err error) {
	defer c.refuse(req, &err)
	switch req.op {
	case tagBind:
		return c.handleBind(req)
	case tagSearch:
		return c.handleSearch(req, ctl)
	default:
		return c.handleRouted(req, ctl, canonical)
	}
}

// handleAbandon takes the ID from the primitive [APPLICATION 16]; there is no
// reply to it, whatever it says. A critical control does not stop it.
func (c *conn) handleAbandon(req *request) error {
	element := ber.AppendBytes(c.out[:0], ber.Integer, req.body)
	r := ber.NewReader(element)
	id, err := r.Int(ber.Integer)
	if err != nil || id < 0 || id > 1<<31-1 {
		return malformed(errors.New("abandon: malformed message ID"))
	}
	c.abandon(int32(id))
	return nil
}
