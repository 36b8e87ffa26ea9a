package ldapd

import (
	"errors"
	"fmt"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
	"shaft/pkg/syncrepl"
)

// Controls that are understood.
const (
	oidPaged       = "1.2.840.113556.1.4.319"  // RFC 2696
	oidManageDsaIT = "2.16.840.1.113730.3.4.2" // RFC 3296; there is nothing to manage yet
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
	var ctl requestControls
	if req.controls != nil {
		if refusal := ctl.read(&req); refusal.code != 0 {
			return false, c.reply(&req, refusal)
		}
	}
	switch req.op {
	case tagBind:
		return false, c.handleBind(&req)
	case tagSearch:
		return false, c.handleSearch(&req, &ctl)
	default:
		return false, c.handleRouted(&req, canonical)
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

// requestControls are the controls of a request that are understood, decoded.
type requestControls struct {
	paged *pagedControl
	sync  *syncrepl.Request // mode, cookie and hint alone
}

// read takes the controls of a request that has a reply: one that is
// critical and unknown, or not meant for the operation, refuses it (RFC 4511
// section 4.1.11).
func (rc *requestControls) read(req *request) (refusal result) {
	var bad error
	err := eachControl(req.controls, func(ctl control) bool {
		switch {
		case string(ctl.oid) == oidPaged && req.op == tagSearch:
			bad = rc.readPaged(ctl.value)
			return bad == nil
		case string(ctl.oid) == syncrepl.OIDSyncRequest && req.op == tagSearch:
			bad = rc.readSync(ctl.value)
			return bad == nil
		case string(ctl.oid) == oidManageDsaIT && req.op != tagBind && req.op != tagExtended:
			return true
		case ctl.critical:
			refusal = result{code: ldapserver.LDAPResultUnavailableCriticalExtension,
				text: fmt.Sprintf("critical control %.64q is not supported here", ctl.oid)}
			return false
		}
		return true
	})
	if err = errors.Join(err, bad); err != nil {
		refusal = result{code: ldapserver.LDAPResultProtocolError, text: err.Error()}
	}
	return refusal
}

func (rc *requestControls) readPaged(value []byte) (err error) {
	if rc.paged != nil {
		return errors.New("paged results control given twice")
	}
	rc.paged, err = decodePaged(value)
	return err
}

func (rc *requestControls) readSync(value []byte) error {
	if rc.sync != nil {
		return errors.New("sync request control given twice")
	}
	rc.sync = &syncrepl.Request{}
	return syncrepl.ParseRequest(value, rc.sync)
}
