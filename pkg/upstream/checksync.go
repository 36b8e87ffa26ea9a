package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// errPersist: the server answers a sync search, but not one that stays.
var errPersist = errors.New("the server refuses refreshAndPersist (RFC 4533) here")

// syncrepl tries the search, and says what can be done where there is none.
func (k *check) syncrepl(ctx context.Context) (string, error) {
	err := k.trySync(ctx, syncrepl.RefreshAndPersist)
	if err == nil {
		return "refreshAndPersist", nil
	}
	if !k.readable(err) {
		return "", err
	}
	way, lacks := "by refreshOnly", false
	if k.trySync(ctx, syncrepl.RefreshOnly) != nil {
		way, lacks = "by paged searches", !k.src.UUIDFromDN && k.lacksUUID(ctx)
	}
	every := time.Duration(k.src.Poll)
	what := "it can be read at intervals instead, " + way + ": give poll"
	if every > 0 {
		what = fmt.Sprintf("it is read every %v instead, %s", every, way)
	}
	switch {
	case lacks:
		return "", fmt.Errorf("%w; %s; but its entries have no entryUUID: give uuid_from_dn", err, what)
	case every > 0:
		return fmt.Sprintf("%v; %s", err, what), nil
	}
	return "", fmt.Errorf("%w; %s", err, what)
}

// lacksUUID tells whether the base entry comes without a UUID of any kind (uuid.go);
// where it does not come at all, the next step says so.
func (k *check) lacksUUID(ctx context.Context) bool {
	q := plain{base: k.src.Base, attributes: []string{attrEntryUUID, attrUniqueID, attrObjectGUID}, filter: dit.Filter{Op: dit.FilterPresent, Attr: "objectClass"}}
	lacks := false
	err := k.conn.within(k.o.DialTimeout, func() error {
		return k.conn.entries(ctx, k.o, q, func(m *syncrepl.Message) error {
			_, err := k.src.uuidOf(m)
			lacks = lacks || err != nil
			return nil
		})
	})
	return err == nil && lacks
}

// maxForeign is how many messages may come that are not of SyncRepl before the
// one that is.
const maxForeign = 16

// trySync begins a sync search of the base alone, and abandons it at its first
// message.
func (k *check) trySync(ctx context.Context, mode syncrepl.Mode) error {
	request, err := syncRequest(k.src, nil)
	if err != nil {
		return err
	}
	request.Mode, request.Scope, request.Attributes = mode, 0, []string{"1.1"}
	request.Filter = dit.Filter{Op: dit.FilterPresent, Attr: "objectClass"}
	search, err := k.conn.wire.begin(ctx, true, func(id int32) []byte { return syncrepl.AppendSearch(nil, id, request) })
	if err != nil {
		return err
	}
	defer search.end()
	frames := &frames{ctx: ctx, search: search, patience: k.o.Patience}
	for range maxForeign {
		frame, err := frames.Next()
		if err != nil {
			return err
		}
		if spoken, err := k.answer(frame); err != nil {
			return err
		} else if spoken {
			return nil
		}
	}
	return syncrepl.ErrNotSync
}

// answer judges a message that the sync search got; spoken tells that it is one
// of SyncRepl's.
func (k *check) answer(frame []byte) (spoken bool, err error) {
	var m syncrepl.Message
	if err := syncrepl.Decode(frame, &m); err != nil {
		return false, fmt.Errorf("malformed message: %w", err)
	}
	switch m.Kind {
	case syncrepl.KindOther, syncrepl.KindReference:
		return false, nil
	case syncrepl.KindEntry:
		if !m.HasState {
			return false, fmt.Errorf("the server sends entries as for a plain search: %w", syncrepl.ErrNotSync)
		}
		return true, nil
	case syncrepl.KindDone:
		end := &syncrepl.ResultError{Code: m.Code, Diagnostic: m.Diagnostic}
		switch {
		case m.Code == ldap.LDAPResultNoSuchObject:
			k.missing = true
			return false, errNoStep
		case m.Code == ldap.LDAPResultUnavailableCriticalExtension, m.Code == 0 && !m.HasSyncDone:
			return false, fmt.Errorf("%w: %s", syncrepl.ErrNotSync, resultText(m.Code, m.Diagnostic))
		case m.Code == ldap.LDAPResultUnwillingToPerform:
			return false, fmt.Errorf("%w: %s", errPersist, resultText(m.Code, m.Diagnostic))
		}
		return false, searchError(k.src, end)
	}
	return true, nil
}
