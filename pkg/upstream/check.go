package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// Step is one step of a check (R14).
type Step struct {
	Name   string `json:"name"` // resolve, connect, tls, bind, syncrepl, base, entries
	OK     bool   `json:"ok"`
	Detail string `json:"detail"` // at most 512 printable characters
	Millis int64  `json:"millis"`
}

// countLimit is how many entries a check counts before it says "more than".
const countLimit = 10_000

// errNoStep leaves a step out of the report.
var errNoStep = errors.New("the step does not apply")

// Check runs the steps in order and stops at the first that fails. entries is
// -1 when unknown. fatal is set when the source can never work as given.
//
// SyncRepl is really tried, since a server may advertise it and refuse all the
// same: a sync search of the base alone is begun, and abandoned at its first message.
// Where that search says that the base is missing, the step base tells it.
func Check(ctx context.Context, src Source, o Options) (steps []Step, entries int, fatal error) {
	if _, err := src.Validate(); err != nil {
		return nil, -1, err
	}
	k := &check{src: src, o: o.withDefaults(), entries: -1}
	defer k.close()
	for _, step := range []struct {
		name string
		run  func(context.Context) (detail string, err error)
	}{
		{"resolve", k.resolve}, {"connect", k.connect}, {"tls", k.secure}, {"bind", k.bind},
		{"syncrepl", k.syncrepl}, {"base", k.base}, {"entries", k.count},
	} {
		begun := k.o.Now()
		detail, err := step.run(ctx)
		if errors.Is(err, errNoStep) {
			continue
		}
		done := Step{Name: step.name, OK: err == nil, Detail: detail, Millis: k.o.Now().Sub(begun).Milliseconds()}
		if err != nil {
			done.Detail = err.Error()
		}
		done.Detail = printable(done.Detail, maxReason)
		steps = append(steps, done)
		if err != nil {
			break
		}
	}
	return steps, k.entries, nil
}

// check is the state that one step leaves to the next.
type check struct {
	src     Source
	o       Options
	raw     net.Conn
	secured net.Conn
	conn    *conn
	missing bool // the sync search found no base
	entries int
}

func (k *check) close() {
	switch {
	case k.conn != nil:
		k.conn.close()
	case k.raw != nil:
		k.raw.Close()
	}
}

func (k *check) resolve(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, k.o.DialTimeout)
	defer cancel()
	addresses, err := k.o.Resolve(ctx, k.src.Host)
	if err != nil {
		return "", connectError(k.src, k.o, err)
	}
	return strings.Join(addresses, ", "), nil
}

func (k *check) connect(ctx context.Context) (_ string, err error) {
	if k.raw, err = connect(ctx, k.src, k.o); err != nil {
		return "", err
	}
	return k.raw.RemoteAddr().String(), nil
}

func (k *check) secure(ctx context.Context) (_ string, err error) {
	if k.secured, err = secure(ctx, k.raw, k.src, k.o); err != nil {
		return "", err
	}
	if !k.src.encrypted() {
		return "", errNoStep
	}
	state := k.secured.(*tls.Conn).ConnectionState()
	peer := state.PeerCertificates[0]
	return fmt.Sprintf("%s, certificate of %s valid until %s",
		tls.VersionName(state.Version), peer.Subject, peer.NotAfter.UTC().Format(time.RFC3339)), nil
}

func (k *check) bind(ctx context.Context) (string, error) {
	k.conn = newConn(ctx, k.secured, k.raw, k.o, func() {})
	if err := k.conn.bind(k.src, k.o); err != nil {
		return "", err
	}
	if k.src.BindDN == "" {
		return "anonymous", nil
	}
	return k.src.BindDN, nil
}

// maxForeign is how many messages may come that are not of SyncRepl before the
// one that is.
const maxForeign = 16

func (k *check) syncrepl(context.Context) (string, error) {
	request, err := syncRequest(k.src, nil)
	if err != nil {
		return "", err
	}
	request.Scope, request.Attributes = 0, []string{"1.1"}
	request.Filter = dit.Filter{Op: dit.FilterPresent, Attr: "objectClass"}
	k.conn.wire.following.Store(true)
	if _, err := k.conn.wire.Write(syncrepl.AppendSearch(nil, syncID, request)); err != nil {
		return "", lost(err)
	}
	frames := newFrames(k.conn, k.o)
	for range maxForeign {
		frame, err := frames.Next()
		if err != nil {
			return "", err
		}
		if spoken, err := k.answer(frame); err != nil {
			return "", err
		} else if spoken {
			return "refreshAndPersist", frames.abandon()
		}
	}
	return "", syncrepl.ErrNotSync
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
		}
		return false, searchError(k.src, end)
	}
	return true, nil
}

func (k *check) base(ctx context.Context) (string, error) {
	if k.missing {
		return "", missingBase(k.src)
	}
	return k.src.Base, k.conn.findBase(ctx, k.src, k.o)
}

func (k *check) count(ctx context.Context) (string, error) {
	scope, err := scopeNumber(k.src.Scope)
	if err != nil {
		return "", err
	}
	request := baseSearch(k.src, scope, k.src.Filter)
	request.SizeLimit = countLimit + 1
	n := 0
	err = k.conn.within(k.o.Patience, func() (err error) {
		n, err = k.conn.count(ctx, request, countLimit)
		return err
	})
	switch {
	case n > countLimit:
		return fmt.Sprintf("more than %d", countLimit), nil
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultSizeLimitExceeded, ldap.LDAPResultTimeLimitExceeded, ldap.LDAPResultAdminLimitExceeded):
		return fmt.Sprintf("at least %d, the server gives no more: %s", n, requestError(err)), nil
	case err != nil:
		return "", fmt.Errorf("count: %w", requestError(err))
	}
	k.entries = n
	return fmt.Sprint(n), nil
}
