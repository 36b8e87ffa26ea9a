package upstream

import (
	"context"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

const slapdLDIF = "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: example\n\n" +
	"dn: cn=one,dc=example,dc=org\nobjectClass: person\ncn: one\nsn: one\n"

// slapd starts a real one, and gives its sources by ldap, StartTLS and ldaps.
func slapd(t *testing.T) (s *ldaptest.Slapd, sources map[string]Source) {
	t.Helper()
	ca, caFile := authority(t)
	certificate, key := ca.files(t, "127.0.0.1")
	s = ldaptest.StartSlapd(t, ldaptest.SlapdOptions{
		Suffix: "dc=example,dc=org", LDIF: slapdLDIF, SessionLog: 100,
		CAFile: caFile, CertFile: certificate, KeyFile: key,
	})
	plain := Source{Protocol: "ldap", Host: "127.0.0.1", Port: s.Port, Base: "dc=example,dc=org",
		BindDN: s.RootDN(), PasswordFile: write(t, ldaptest.SlapdPassword+"\n")}
	startTLS, ldaps := plain, plain
	startTLS.StartTLS, startTLS.CAFile = true, caFile
	ldaps.Protocol, ldaps.Port, ldaps.CAFile = "ldaps", s.TLSPort, caFile
	sources = map[string]Source{"ldap": plain, "StartTLS": startTLS, "ldaps": ldaps}
	for name, src := range sources {
		if _, err := src.Validate(); err != nil {
			t.Fatal(err)
		}
		sources[name] = src
	}
	return s, sources
}

// R10, R12: a real slapd is checked and followed over each transport; its end
// is noticed and its return too.
func TestR12RealSlapd(t *testing.T) {
	noLeak(t)
	s, sources := slapd(t)
	recorders := map[string]*recorder{}
	for name, src := range sources {
		steps, n, fatal := Check(context.Background(), src, quick())
		if fatal != nil || n != 2 || strings.Contains(names(steps), "-") {
			t.Fatalf("%s: %d entries, %v\n%+v", name, n, fatal, steps)
		}
		r := newRecorder()
		recorders[name] = r
		follow(t, src, r, quick())
		r.await(t, Live)
		if _, puts := r.count(); puts != 2 {
			t.Errorf("%s: %d entries", name, puts)
		}
		for len(r.events) > 0 {
			next(t, r.events)
		}
	}
	s.Apply("dn: cn=two,dc=example,dc=org\nobjectClass: person\ncn: two\nsn: two\n")
	for name, r := range recorders {
		if got := next(t, r.events); !strings.HasPrefix(got, "cookie rid=") {
			t.Errorf("%s: %s", name, got)
		}
	}
	s.Stop() // not Kill: slapd would forget its contextCSN, and refuse the cookie
	for _, r := range recorders {
		wantReason(t, r.await(t, Down).Reason, "connection lost")
	}
	s.Start()
	for name, r := range recorders {
		r.await(t, Live)
		if _, puts := r.count(); puts != 3 {
			t.Errorf("%s: %d entries in all, the cookie was of no use", name, puts)
		}
	}
}

// A slapd stopped in its tracks is found by its silence.
func TestStoppedSlapdIsFound(t *testing.T) {
	noLeak(t)
	s, sources := slapd(t)
	r := newRecorder()
	o := quick()
	o.Idle, o.Patience = 100*time.Millisecond, 2*time.Second
	l := follow(t, sources["ldaps"], r, o)
	r.await(t, Live)
	before := l.Status().LastContact
	for !l.Status().LastContact.After(before) { // a who am I was answered
		select {
		case s := <-r.statuses:
			t.Fatalf("%+v", s)
		case <-time.After(10 * time.Millisecond):
		}
	}
	s.Pause()
	wantReason(t, r.await(t, Down).Reason, "silent", "does not answer")
	s.Continue()
	r.await(t, Live)
}

// R14: what slapd lacks is named by the check.
func TestCheckOfRealSlapd(t *testing.T) {
	noLeak(t)
	_, sources := slapd(t)
	missing, wrong := sources["ldap"], sources["StartTLS"]
	missing.Base = "ou=nowhere,dc=example,dc=org"
	wrong.PasswordFile = write(t, "wrong")
	elsewhere := sources["ldap"]
	elsewhere.Base = "cn=Subschema" // no overlay of slapd's serves it by SyncRepl
	for _, test := range []struct {
		src   Source
		steps string
	}{
		{missing, "resolve+ connect+ bind+ base-"},
		{wrong, "resolve+ connect+ tls+ bind-"},
		{elsewhere, "resolve+ connect+ bind+ syncrepl- base+ entries-"}, // it is found by a search of itself alone
	} {
		if steps, n, fatal := Check(context.Background(), test.src, quick()); names(steps) != test.steps || n != -1 || fatal != nil {
			t.Errorf("%s: %d, %v\n%+v", names(steps), n, fatal, steps)
		}
	}
}
