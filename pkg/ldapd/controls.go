package ldapd

import (
	"errors"
	"fmt"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// Controls that are understood, beside that of RFC 4533.
const (
	oidPaged       = "1.2.840.113556.1.4.319"   // RFC 2696
	oidManageDsaIT = "2.16.840.1.113730.3.4.2"  // RFC 3296
	oidSort        = "1.2.840.113556.1.4.473"   // RFC 2891
	oidSorted      = "1.2.840.113556.1.4.474"   // of its reply
	oidAssertion   = "1.3.6.1.1.12"             // RFC 4528
	oidValues      = "1.2.826.0.1.3344810.2.3"  // matched values, RFC 3876
	oidSubentries  = "1.3.6.1.4.1.4203.1.10.1"  // RFC 3672
	oidNoCopy      = "1.3.6.1.1.22"             // Don't Use Copy, RFC 6171
	oidProxied     = "2.16.840.1.113730.3.4.18" // proxied authorization, RFC 4370
)

// controlSpec is one control that is understood: what it may come with, and how it
// is read.
type controlSpec struct {
	oid  string
	fits func(req *request) bool
	read func(rc *requestControls, ctl control) error
}

// controlSpecs are all of them; the root DSE names these.
var controlSpecs = [...]controlSpec{
	{oidPaged, isSearch, func(rc *requestControls, ctl control) (err error) {
		rc.paged, err = decodePaged(ctl.value)
		return err
	}},
	{oidManageDsaIT, reachesEntries, func(rc *requestControls, ctl control) error {
		rc.manage = true
		return noValue(ctl, "ManageDsaIT")
	}},
	{syncrepl.OIDSyncRequest, isSearch, func(rc *requestControls, ctl control) error {
		rc.sync = &syncrepl.Request{}
		return syncrepl.ParseRequest(ctl.value, rc.sync)
	}},
	{oidSort, isSearch, func(rc *requestControls, ctl control) (err error) {
		rc.sort, err = decodeSort(ctl)
		return err
	}},
	{oidAssertion, reachesEntries, func(rc *requestControls, ctl control) (err error) {
		rc.assert, err = decodeAssertion(ctl.value)
		return err
	}},
	{oidValues, isSearch, func(rc *requestControls, ctl control) error {
		rc.values = ctl.value
		if ctl.value == nil {
			return errors.New("matched values control: it has no value")
		}
		return nil
	}},
	{oidSubentries, isSearch, func(rc *requestControls, ctl control) (err error) {
		rc.subentries, err = decodeSubentries(ctl.value)
		return err
	}},
	{oidNoCopy, reachesEntries, func(rc *requestControls, ctl control) error {
		rc.original = true
		return noValue(ctl, "Don't Use Copy")
	}},
	{oidProxied, canBeProxied, func(rc *requestControls, ctl control) error {
		rc.proxied, rc.authzID = true, ctl.value
		switch {
		case !ctl.critical: // RFC 4370 section 3
			return errors.New("proxied authorization control: it must be critical")
		case ctl.value == nil:
			return errors.New("proxied authorization control: it has no value")
		}
		return nil
	}},
}

func isSearch(req *request) bool { return req.op == tagSearch }

// reachesEntries tells the operations that have an entry as their target.
func reachesEntries(req *request) bool { return req.op != tagBind && req.op != tagExtended }

// canBeProxied tells what may be done as somebody else: what reaches entries, and
// the question who one is.
func canBeProxied(req *request) bool {
	if req.op != tagExtended {
		return reachesEntries(req)
	}
	r := ber.NewReader(req.body)
	name, err := r.Read(ber.ContextPrimitive(0))
	return err == nil && string(name) == string(ldapserver.NoticeOfWhoAmI)
}

func noValue(ctl control, what string) error {
	if len(ctl.value) > 0 {
		return fmt.Errorf("%s control: it has a value", what)
	}
	return nil
}

// requestControls are the controls of a request that are understood, decoded.
// Slices alias the request.
type requestControls struct {
	paged      *pagedControl
	sync       *syncrepl.Request // mode, cookie and hint alone
	sort       *sortControl
	assert     *dit.Filter // nil: none
	values     []byte      // ValuesReturnFilter; nil: none
	authzID    []byte
	seen       uint32 // bit i: the control of controlSpecs[i] was there
	subentries visibility
	manage     bool
	original   bool // no copies
	proxied    bool // authzID counts
}

// visibility is what the Subentries control says of a search (RFC 3672 section 3).
type visibility uint8

const (
	byScope        visibility = iota // no control: a base search alone sees subentries
	subentriesOnly                   // TRUE
	entriesOnly                      // FALSE
)

// plain tells that no control changes what a search of one entry gives.
func (rc *requestControls) plain() bool {
	return rc.paged == nil && rc.sort == nil && rc.values == nil && rc.subentries == byScope
}

// read takes the controls of a request that has a reply: one that is
// critical and unknown, or not meant for the operation, refuses it (RFC 4511
// section 4.1.11).
func (rc *requestControls) read(req *request) (refusal result) {
	err := eachControl(req.controls, func(ctl control) bool {
		refusal = rc.take(req, ctl)
		return refusal.code == 0
	})
	if err != nil {
		return result{code: ldapserver.LDAPResultProtocolError, text: err.Error()}
	}
	return refusal
}

func (rc *requestControls) take(req *request, ctl control) result {
	for i := range controlSpecs {
		spec := &controlSpecs[i]
		if string(ctl.oid) != spec.oid || !spec.fits(req) {
			continue
		}
		if rc.seen&(1<<i) != 0 {
			return result{code: ldapserver.LDAPResultProtocolError, text: fmt.Sprintf("control %s is given twice", spec.oid)}
		}
		rc.seen |= 1 << i
		if err := spec.read(rc, ctl); err != nil {
			return result{code: ldapserver.LDAPResultProtocolError, text: err.Error()}
		}
		return result{}
	}
	if ctl.critical {
		return result{code: ldapserver.LDAPResultUnavailableCriticalExtension,
			text: fmt.Sprintf("critical control %.64q is not supported here", ctl.oid)}
	}
	return result{}
}

// decodeAssertion reads the value of RFC 4528's control: a filter.
func decodeAssertion(value []byte) (*dit.Filter, error) {
	r := ber.NewReader(value)
	tag, content, err := r.Any()
	if err == nil && r.More() {
		err = errors.New("there is something behind the filter")
	}
	var f dit.Filter
	if err == nil {
		f, err = dit.DecodeFilter(byte(tag), content)
	}
	if err != nil {
		return nil, fmt.Errorf("assertion control: %w", err)
	}
	return &f, nil
}

// decodeSubentries reads the value of RFC 3672's control: a BOOLEAN.
func decodeSubentries(value []byte) (visibility, error) {
	r := ber.NewReader(value)
	only, err := r.Bool(ber.Boolean)
	if err == nil && r.More() {
		err = errors.New("there is something behind the boolean")
	}
	switch {
	case err != nil:
		return byScope, fmt.Errorf("subentries control: %w", err)
	case only:
		return subentriesOnly, nil
	}
	return entriesOnly, nil
}

// resultAssertionFailed is RFC 4528 section 5.3.
const resultAssertionFailed = 122
