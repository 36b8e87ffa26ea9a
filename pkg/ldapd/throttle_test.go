package ldapd

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/vjeantet/ldapserver"
)

func at(ip string) origin { return originOf(netip.MustParseAddr(ip), nil) }

// R10: each failure at a DN doubles the wait for the next try at it from the same
// address; others do not wait, and the right password ends it.
func TestThrottle(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	th := &throttle{delay: time.Second, tallies: map[tallyKey]*tally{}}
	try := func(ip, dn string, want time.Duration) {
		t.Helper()
		if wait, ok := th.reserve(at(ip), dn, now); wait != want || !ok {
			t.Errorf("%s from %s waits %v (%v), not %v", dn, ip, wait, ok, want)
		}
	}
	const a, b = "192.0.2.1", "192.0.2.2"
	try(a, "cn=x", 0)
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 16, 16} {
		th.failed(at(a), "cn=x", now)
		try(a, "cn=x", want*time.Second)
		try(a, "cn=y", 0)
		try(b, "cn=x", 0)
		now = now.Add(time.Minute)
		if i == 6 {
			th.passed(at(a), "cn=x")
			try(a, "cn=x", 0)
		}
	}
	// Tries side by side queue up, until it is too long a queue.
	th.failed(at(a), "cn=z", now)
	for _, want := range []time.Duration{1, 2, 3, 4} {
		try(a, "cn=z", want*time.Second)
	}
	for range 5 {
		th.failed(at(a), "cn=q", now)
	}
	try(a, "cn=q", 16*time.Second)
	try(a, "cn=q", 32*time.Second)
	if wait, ok := th.reserve(at(a), "cn=q", now); ok {
		t.Errorf("a turn after %v", wait)
	}
	now = now.Add(time.Hour)
	try(a, "cn=q", 0)
	try(a, "cn=z", 0)
}

// R10: who tries many DNs is slowed as a whole, and never shut out.
func TestThrottleByAddress(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	th := &throttle{delay: time.Second, tallies: map[tallyKey]*tally{}}
	for i := range freeFailures + 10 {
		wait, ok := th.reserve(at("2001:db8::1"), fmt.Sprint("cn=", i), now)
		if (wait > 0) != (i > freeFailures) || wait > 4*time.Second || !ok {
			t.Errorf("try %d waits %v (%v)", i, wait, ok)
		}
		now = now.Add(wait)
		th.failed(at("2001:db8::ffff"), fmt.Sprint("cn=", i), now)
	}
	if wait, _ := th.reserve(at("2001:db8:1::1"), "cn=1", now); wait != 0 {
		t.Errorf("another network waits %v", wait)
	}
}

// R56: the memory for failures is bounded, whoever tries whatever.
func TestThrottleIsBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	th := &throttle{delay: time.Second, tallies: map[tallyKey]*tally{}}
	for i := range 3 * maxTallies {
		th.failed(at("192.0.2.1"), fmt.Sprint("cn=", i), now)
		now = now.Add(time.Millisecond)
	}
	if n := len(th.tallies); n > maxTallies {
		t.Errorf("%d tallies", n)
	}
	th.sweep(now.Add(time.Hour))
	if n := len(th.tallies); n != 0 {
		t.Errorf("%d tallies an hour later", n)
	}
}

// R10: failed binds over the wire are slowed, on one connection and on many; the
// right password is taken in its turn, other DNs and other operations at once.
func TestFailedBindsAreSlowed(t *testing.T) {
	const delay = 20 * time.Millisecond
	_, addr := serve(t, withMirror(Options{BindDelay: delay}))
	mirror := "cn=mirror," + base
	began := time.Now()
	for id := range int64(4) { // waits 0, 1, 2 and 4 delays
		if r := dial(t, addr).do(id+1, tagBind, bindBody(3, mirror, "wrong")); r.code != ldapserver.LDAPResultInvalidCredentials {
			t.Fatalf("%+v", r)
		}
	}
	if took := time.Since(began); took < 7*delay {
		t.Errorf("4 failed binds took %v", took)
	}
	c := dial(t, addr)
	if r := c.do(1, tagBind, bindBody(3, mirror, "secret")); r.code != 0 {
		t.Errorf("%+v", r)
	}
	if took := time.Since(began); took < (7+8)*delay {
		t.Errorf("with the right password they took %v", took)
	}
	c.whoami(2)
}

// R10, R56: a shutdown does not wait for a bind that has to wait.
func TestCloseDuringSlowBind(t *testing.T) {
	log := make(events, 1000)
	s, addr := serve(t, withMirror(Options{BindDelay: maxBindDelay, Log: slog.New(log)}))
	c := dial(t, addr)
	c.do(1, tagBind, bindBody(3, "cn=mirror,"+base, "wrong"))
	c.write(msg(2, tagBind, bindBody(3, "cn=mirror,"+base, "secret")))
	log.await(t, "bind slowed")
	began := time.Now()
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > maxBindDelay/2 {
		t.Errorf("it took %v", took)
	}
}
