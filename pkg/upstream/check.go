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

	"shaft/pkg/syncrepl"
)

// Step is one step of a check (R14).
type Step struct {
	Name   string `json:"name"` // resolve, connect, tls, bind, loop, syncrepl, base, entries
	OK     bool   `json:"ok"`
	Detail string `json:"detail"` // at most 512 printable characters
	Millis int64  `json:"millis"`
}

// countLimit is how many entries a check counts before it says "more than".
const countLimit = 10_000

// errNoStep leaves a step out of the report.
var errNoStep = errors.New("the step does not apply")

// Check runs the steps in order and stops at the first that fails; but a server
// without SyncRepl can be read all the same, so that the steps behind that one
// run. entries is -1 when unknown. fatal is set when the source can never work as
// given: it is not valid, or it is a loop.
//
// Of several servers, and of the targets of SRV records, the check goes on with
// the first that takes a connection. SyncRepl is really tried, since a server may
// advertise it and refuse all the same: a sync search of the base alone is begun,
// and abandoned at its first message. Where that search says that the base is
// missing, the step base tells it.
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
		{"resolve", k.resolve}, {"connect", k.connect}, {"tls", k.secure}, {"bind", k.bind}, {"loop", k.loop},
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
		if errors.Is(err, errLoop) {
			return steps, -1, err
		}
		if err != nil && !k.readable(err) {
			break
		}
	}
	return steps, k.entries, nil
}

// check is the state that one step leaves to the next.
type check struct {
	src     Source
	o       Options
	places  []place
	failed  tries // of places
	place   place // that took the connection
	raw     net.Conn
	secured net.Conn
	conn    *conn
	missing bool // the sync search found no base
	entries int
}

// readable tells whether plain searches are of use although a step failed.
func (k *check) readable(err error) bool {
	return (errors.Is(err, syncrepl.ErrNotSync) || errors.Is(err, errPersist)) && k.conn.wire.cause() == nil
}

func (k *check) close() {
	switch {
	case k.conn != nil:
		k.conn.close()
	case k.raw != nil:
		k.raw.Close()
	}
}

// resolve finds the places, and shows them in the order in which they are tried.
func (k *check) resolve(ctx context.Context) (string, error) {
	var texts []string
	names, found := 0, 0
	servers := k.src.servers()
	for i, at := range servers {
		places, err := at.places(ctx, k.o)
		if err != nil {
			k.failed = append(k.failed, err)
			texts = append(texts, err.Error())
			continue
		}
		for _, p := range fair(places, len(k.places), len(servers)-1-i) {
			k.places = append(k.places, p)
			if p.network() == "unix" {
				texts = append(texts, p.address)
				found++
				continue
			}
			names++
			addresses, err := k.addresses(ctx, p)
			if err == nil {
				found++
			} else {
				k.failed = append(k.failed, p.fail(err))
			}
			texts = append(texts, resolved(p, addresses, err))
		}
	}
	switch {
	case found == 0:
		return "", k.failed.err()
	case names == 0:
		return "", errNoStep
	case len(texts) == 1:
		_, only, _ := strings.Cut(texts[0], " is ")
		return only, nil
	}
	return strings.Join(texts, "; "), nil
}

// addresses asks for those of a place.
func (k *check) addresses(ctx context.Context, p place) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, k.o.DialTimeout)
	defer cancel()
	addresses, err := k.o.Resolve(ctx, p.host())
	if err != nil {
		return nil, p.connectError(k.o, err)
	}
	return addresses, nil
}

// resolved is a place with its addresses, or why it has none.
func resolved(p place, addresses []string, err error) string {
	what := strings.Join(addresses, ", ")
	if err != nil {
		what = dnsCause(err)
	}
	text := p.address + " is " + what
	if p.srv != nil {
		text += " (SRV records: " + dnsCause(p.srv) + ")"
	}
	return text
}

// connect goes on with the first place that takes a connection.
func (k *check) connect(ctx context.Context) (string, error) {
	k.failed = nil
	for _, p := range k.places {
		raw, err := p.connect(ctx, k.o)
		if err == nil {
			k.raw, k.place = raw, p
			break
		}
		k.failed = append(k.failed, p.fail(err))
	}
	switch {
	case k.raw == nil:
		return "", k.failed.err()
	case len(k.places) == 1:
		return k.raw.RemoteAddr().String(), nil
	case len(k.failed) == 0:
		return k.place.address, nil
	}
	return fmt.Sprintf("%s; before it: %s", k.place.address, k.failed.text(maxReason)), nil
}

func (k *check) secure(ctx context.Context) (_ string, err error) {
	if k.secured, err = k.place.secure(ctx, k.raw, k.src, k.o); err != nil {
		return "", err
	}
	if !k.src.encrypted(k.place.server) {
		return "", errNoStep
	}
	state := k.secured.(*tls.Conn).ConnectionState()
	peer := state.PeerCertificates[0]
	return fmt.Sprintf("%s, certificate of %s valid until %s",
		tls.VersionName(state.Version), peer.Subject, peer.NotAfter.UTC().Format(time.RFC3339)), nil
}

func (k *check) bind(ctx context.Context) (string, error) {
	k.conn = newConn(ctx, k.secured, k.raw, k.o, func() {})
	k.conn.server = k.place.address
	if err := k.conn.bind(k.src, k.o); err != nil {
		return "", k.place.hint(k.src, k.conn.wire.cause() != nil, err)
	}
	k.conn.keep(k.o)
	switch {
	case k.src.SASLExternal:
		return k.external(), nil
	case k.src.BindDN == "":
		return "anonymous", nil
	}
	return k.src.BindDN, nil
}

// external says who the server takes us for, where it tells (RFC 4532).
func (k *check) external() string {
	var who *ldap.WhoAmIResult
	err := k.conn.within(k.o.DialTimeout, func() (err error) {
		who, err = k.conn.ldap.WhoAmI(nil)
		return err
	})
	if err != nil || who.AuthzID == "" {
		return "SASL EXTERNAL"
	}
	return "SASL EXTERNAL as " + who.AuthzID
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
