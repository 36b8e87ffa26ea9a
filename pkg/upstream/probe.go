package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Probe starts a goroutine that asks the server at intervals whether it is
// there (connect, bind, base search), and reports what it found each time; for
// waiting claims. The states are Live and Down. The first probe is made at once, the others
// after half of the interval and some of the other half, so that many go apart.
func Probe(src Source, interval time.Duration, report func(Status), o Options) *Link {
	return start(src, o, report, func(l *linkImpl, ctx context.Context) {
		pauses := backoff{random: l.o.Rand}
		for {
			state, reason := Live, ""
			if err := l.probe(ctx); err != nil {
				state, reason = Down, err.Error()
				l.noBase.Store(errors.Is(err, errNoBase))
			}
			if ctx.Err() != nil {
				return
			}
			l.change(state, reason)
			l.report(l.current())
			if !l.sleep(ctx, pauses.jitter(interval), nil) {
				return
			}
		}
	})
}

// probe asks once.
func (l *linkImpl) probe(ctx context.Context) error {
	c, err := open(ctx, l.src, l.o, l.touch)
	if err != nil {
		return err
	}
	defer c.close()
	return c.findBase(ctx, l.src, l.o)
}

// findBase looks whether the base entry can be read.
func (c *conn) findBase(ctx context.Context, src Source, o Options) error {
	n := 0
	err := c.within(o.DialTimeout, func() (err error) {
		n, err = c.count(ctx, baseSearch(src, ldap.ScopeBaseObject, AllEntries), 1)
		return err
	})
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
		return missingBase(src)
	case err != nil:
		return fmt.Errorf("base search: %w", requestError(err))
	case n == 0:
		return fmt.Errorf("the base DN %q cannot be read", src.Base)
	}
	return nil
}

// errNoBase marks that the server is there and the source's base is not.
var errNoBase = errors.New("the base is missing")

func missingBase(src Source) error {
	return inWords(errNoBase, "the base DN %q is not there: %s", src.Base, resultText(ldap.LDAPResultNoSuchObject, ""))
}

// baseSearch is a plain search of the source's base that asks for no attributes.
func baseSearch(src Source, scope int, filter string) *ldap.SearchRequest {
	return ldap.NewSearchRequest(src.Base, scope, ldap.NeverDerefAliases, 0, 0, false, filter,
		[]string{"1.1"}, []ldap.Control{ldap.NewControlManageDsaIT(false)})
}

// count tells how many entries a search finds, and stops behind limit. A search
// that it stopped is still running: the connection is of no further use.
func (c *conn) count(ctx context.Context, request *ldap.SearchRequest, limit int) (n int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	found := c.ldap.SearchAsync(ctx, request, 0)
	for found.Next() {
		if found.Entry() != nil {
			n++
		}
		if n > limit {
			return n, nil
		}
	}
	return n, found.Err()
}
