package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/ber"
)

// bindable starts a scripted server of ldaps or StartTLS, and gives its source.
func bindable(t *testing.T, s *server, ca *issuer, caFile string) Source {
	t.Helper()
	s.config = ca.issue(t, "127.0.0.1", time.Now().Add(time.Hour))
	src := listen(t, s).source()
	src.CAFile, src.StartTLS = caFile, !s.ldaps
	return src
}

// saying answers a bind with one message.
func saying(frame func(r request) []byte) func(*session, request) {
	return func(s *session, r request) { s.send(frame(r)) }
}

// R10: a password is right when the server says so in the answer to the bind, wrong when
// it says that, and anything else is a failure that tells why.
func TestR10PasswordAnswers(t *testing.T) {
	noLeak(t)
	ca, caFile := authority(t)
	coded := func(code int, text string) func(*session, request) {
		return saying(func(r request) []byte { return response(r.id, tagBindResponse, code, text) })
	}
	refused := "REFUSED "
	for name, test := range map[string]struct {
		bind func(*session, request)
		want string
	}{
		"right":                    {coded(0, ""), ""},
		"wrong":                    {coded(49, "no\x1b[2J"), refused + "invalid credentials (49): no [2J"},
		"no password there":        {coded(48, ""), refused + "inappropriate authentication (48)"},
		"no entry there":           {coded(32, ""), refused + "no such object (32)"},
		"locked":                   {coded(19, "retry limit"), refused + "constraint violation (19): retry limit"},
		"switched off":             {coded(53, "inactivated"), refused + "unwilling to perform (53): inactivated"},
		"busy":                     {coded(51, ""), "bind: busy (51)"},
		"in progress":              {coded(14, ""), "bind: "},
		"a referral":               {coded(10, ""), "bind: referral (10)"},
		"another message ID":       {saying(func(r request) []byte { return response(r.id+1, tagBindResponse, 0, "") }), "not one to a bind"},
		"another operation":        {saying(func(r request) []byte { return response(r.id, tagSearchDone, 0, "") }), "not one to a bind"},
		"no result":                {saying(func(r request) []byte { return bare(r.id, nil) }), "malformed answer"},
		"a result that ends":       {saying(func(r request) []byte { return bare(r.id, ber.AppendInt(nil, ber.Enumerated, 0)) }), "malformed answer"},
		"no LDAP":                  {saying(func(request) []byte { return []byte("HTTP/1.0 200 OK\r\n\r\n") }), "it is not LDAP"},
		"a gigabyte":               {saying(func(request) []byte { return []byte{0x30, 0x84, 0x40, 0, 0, 0, 2, 1, 1} }), "malformed answer"},
		"a notice":                 {saying(func(request) []byte { return notice(52, "going down") }), "going down"},
		"a notification before it": {saying(func(r request) []byte { return append(whisper(), response(r.id, tagBindResponse, 0, "")...) }), ""},
		"in single octets": {func(s *session, r request) {
			for _, b := range response(r.id, tagBindResponse, 49, "slow") {
				s.send([]byte{b})
			}
		}, refused + "invalid credentials (49): slow"},
		"hangs up": {func(s *session, _ request) { s.Close() }, "connection lost"},
	} {
		for _, ldaps := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/ldaps %v", name, ldaps), func(t *testing.T) {
				s := &server{ldaps: ldaps, onBind: test.bind}
				src := bindable(t, s, ca, caFile)
				err := new(Passwords).Try(t.Context(), src, "cn=a,o=x", []byte("geheim"), quick())
				got := ""
				if no, ok := errors.AsType[*Refused](err); ok {
					got = refused + no.Words
				} else if err != nil {
					got = err.Error()
				}
				if !strings.Contains(got, test.want) || (got == "") != (test.want == "") || strings.Contains(got, "geheim") || s.binds.Load() != 1 {
					t.Errorf("%q, want %q; %d binds", got, test.want, s.binds.Load())
				}
			})
		}
	}
}

// bare is an answer to a bind with whatever for a result.
func bare(id int64, content []byte) []byte {
	msg, mark := ber.Begin(nil, ber.Sequence)
	msg = ber.AppendBytes(ber.AppendInt(msg, ber.Integer, id), tagBindResponse, content)
	return ber.End(msg, mark)
}

// whisper is an unsolicited notification of no known kind (RFC 4511 section 4.4).
func whisper() []byte { return response(0, tagExtendedResponse, 0, "") }

// R10: a password goes over TLS that has proved itself, or a socket; else nothing is sent.
func TestR10PasswordsAreKept(t *testing.T) {
	noLeak(t)
	ca, caFile := authority(t)
	_, stranger := authority(t)
	var p Passwords
	plain := &server{}
	src := bindable(t, plain, ca, caFile)
	src.StartTLS = false
	if err := p.Try(t.Context(), src, "cn=a", []byte("x"), quick()); err == nil || !strings.Contains(err.Error(), "over TLS and unix sockets alone") {
		t.Errorf("in the clear: %v", err)
	}
	src.StartTLS, src.CAFile = true, stranger
	if err := p.Try(t.Context(), src, "cn=a", []byte("x"), quick()); err == nil || !strings.Contains(err.Error(), "not signed by an authority in") {
		t.Errorf("an unknown server: %v", err)
	}
	src.CAFile = caFile
	if err := p.Try(t.Context(), src, "cn=a", nil, quick()); err == nil || !strings.Contains(err.Error(), "nothing is authenticated") {
		t.Errorf("no password: %v", err)
	}
	if err := p.Try(t.Context(), src, "", []byte("x"), quick()); err == nil {
		t.Error("no name is taken")
	}
	if n := plain.binds.Load(); n != 0 {
		t.Errorf("%d binds were sent", n)
	}
	src.Servers = []Server{{Protocol: "ldapi", Socket: "/run/x"}}
	if !src.Confidential() {
		t.Error("StartTLS and a socket are not confidential")
	}
	src.StartTLS = false
	if src.Confidential() {
		t.Error("a server in the clear beside a socket is confidential")
	}
}

// R13: of several servers the first that answers decides; one that is away or silent
// leaves the others their time.
func TestR13PasswordServers(t *testing.T) {
	noLeak(t)
	ca, caFile := authority(t)
	hanging := make(chan struct{})
	defer close(hanging)
	no, yes := &server{ldaps: true, bindCode: 49}, &server{ldaps: true}
	silent := &server{ldaps: true, onBind: func(*session, request) { <-hanging }}
	first := func(src Source, further ...Source) Source {
		for _, f := range further {
			src.Servers = append(src.Servers, f.first())
		}
		return src
	}
	nay, yea, mute := bindable(t, no, ca, caFile), bindable(t, yes, ca, caFile), bindable(t, silent, ca, caFile)
	away := yea
	away.Port = 1
	o := quick()
	o.DialTimeout = 6 * time.Second // half of it for who is silent
	var p Passwords
	try := func(src Source) error { return p.Try(t.Context(), src, "cn=a", []byte("x"), o) }
	if err := try(first(away, yea, nay)); err != nil {
		t.Errorf("the first is away: %v", err)
	}
	if err := try(first(mute, yea)); err != nil {
		t.Errorf("the first is silent: %v", err)
	}
	if _, ok := errors.AsType[*Refused](try(first(nay, yea))); !ok || yes.binds.Load() != 2 {
		t.Errorf("the first refuses, and the second is asked %d times", yes.binds.Load())
	}
	o.DialTimeout = 100 * time.Millisecond
	if err := try(first(away, mute)); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") && !strings.Contains(err.Error(), "no answer within") {
		t.Errorf("none answers: %v", err)
	}
}

// R15: a server that hangs ties up so many tries and no more, and no other server's.
func TestR15PasswordsAtOnce(t *testing.T) {
	noLeak(t)
	ca, caFile := authority(t)
	let := make(chan struct{})
	slow := &server{ldaps: true, onBind: func(s *session, r request) { <-let; s.send(response(r.id, tagBindResponse, 0, "")) }}
	hung, well := bindable(t, slow, ca, caFile), bindable(t, &server{ldaps: true}, ca, caFile)
	var p Passwords
	o := quick()
	o.DialTimeout = time.Minute
	errs := make(chan error, 3*bindsAtOnce)
	var goes sync.WaitGroup
	for range cap(errs) {
		goes.Go(func() { errs <- p.Try(t.Context(), hung, "cn=a", []byte("x"), o) })
	}
	eventually(t, func() bool { return slow.binds.Load() == bindsAtOnce })
	for range 3 {
		if err := p.Try(t.Context(), well, "cn=a", []byte("x"), o); err != nil {
			t.Errorf("another server: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Try(ctx, hung, "cn=a", []byte("x"), o); err == nil || !strings.Contains(err.Error(), "8 binds wait") {
		t.Errorf("who does not wait for a turn: %v", err)
	}
	if n := slow.binds.Load(); n != bindsAtOnce {
		t.Errorf("%d binds at once", n)
	}
	close(let)
	goes.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Errorf("when the server is well again: %v", err)
		}
	}
	if len(p.lines) != 0 {
		t.Errorf("%d lines are left", len(p.lines))
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not come to be")
		}
	}
}

// R10: a try ends with whoever wants it, in the middle of a handshake too.
func TestR10PasswordTryEnds(t *testing.T) {
	noLeak(t)
	_, caFile := authority(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	src := (&server{t: t, ln: ln, ldaps: true}).source()
	src.CAFile = caFile
	ctx, cancel := context.WithCancel(t.Context())
	var goes sync.WaitGroup
	goes.Go(func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.Read(make([]byte, 1))
		cancel()
	})
	o := quick()
	o.DialTimeout = time.Hour
	if err := new(Passwords).Try(ctx, src, "cn=a", []byte("x"), o); err == nil {
		t.Error("a try that was given up succeeds")
	}
	ln.Close()
	goes.Wait()
}

// R10: a real slapd, over ldaps, StartTLS and its socket, by the entry's own password.
func TestR10PasswordsOfSlapd(t *testing.T) {
	noLeak(t)
	ca, caFile := authority(t)
	certificate, key := ca.files(t, "127.0.0.1")
	s := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: "dc=example,dc=org", LDAPI: true, CAFile: caFile, CertFile: certificate, KeyFile: key,
		LDIF: slapdLDIF + "\ndn: cn=anna,dc=example,dc=org\nobjectClass: person\ncn: anna\nsn: a\nuserPassword: one\n"})
	ldaps := Source{Protocol: "ldaps", Host: "127.0.0.1", Port: s.TLSPort, CAFile: caFile}
	startTLS := Source{Protocol: "ldap", Host: "127.0.0.1", Port: s.Port, StartTLS: true, CAFile: caFile}
	var p Passwords
	for name, src := range map[string]Source{"ldaps": ldaps, "StartTLS": startTLS, "ldapi": {Protocol: "ldapi", Socket: s.Socket}} {
		if err := p.Try(t.Context(), src, "cn=anna,dc=example,dc=org", []byte("one"), quick()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, dn := range []string{"cn=anna,dc=example,dc=org", "cn=nobody,dc=example,dc=org", "dc=example,dc=org", "nonsense"} {
			if err := p.Try(t.Context(), src, dn, []byte("two"), quick()); err == nil {
				t.Errorf("%s: a wrong password of %s is taken", name, dn)
			} else if _, ok := errors.AsType[*Refused](err); !ok {
				t.Errorf("%s: %s: %v", name, dn, err)
			}
		}
	}
}

// FuzzBindAnswer: whatever a server sends is an answer or an error, and success is said
// by a message that says it.
func FuzzBindAnswer(f *testing.F) {
	f.Add(response(1, tagBindResponse, 0, ""))
	f.Add(append(whisper(), response(1, tagBindResponse, 49, "no")...))
	f.Add(notice(52, "bye"))
	f.Add([]byte("HTTP/1.0 200 OK\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		var goes sync.WaitGroup
		goes.Go(func() {
			theirs.Write(sent)
			theirs.Close()
		})
		code, _, err := bindAnswer(ours)
		ours.Close()
		goes.Wait()
		if err == nil && code == 0 && !strings.Contains(string(sent), string([]byte{byte(tagBindResponse)})) {
			t.Errorf("%x is taken for success", sent)
		}
	})
}
