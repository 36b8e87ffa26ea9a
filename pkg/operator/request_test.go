package operator

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/pkg/engine"
	"shaft/pkg/queue"
	"shaft/pkg/upstream"
)

// R8, R13: every field of the record can be given beside a URL or in its place,
// and several URLs are servers in order.
func TestRequestWhole(t *testing.T) {
	given := upstream.Source{BindDN: "cn=r", PasswordFile: "/pw", CAFile: "/ca", SASLExternal: true, CertFile: "/c", KeyFile: "/k",
		Poll: upstream.Interval(time.Minute), NewCookieEnds: true, UUIDFromDN: true}
	r := Request{ID: "x", Kind: "list", Name: "cn=%(attr.cn)s", URLs: []string{"ldap://a/o=x?cn?one?(cn=*)", "ldaps://b:6360"}, Source: given,
		ContentFilter: "(sn=*)", ContentAttributes: []string{"sn"}, NoDNRewrite: true, KeepWarm: true, ForwardBind: true}
	percent, minimum := 5, 3
	r.GuardPercent, r.GuardMinimum = &percent, &minimum // R36
	s, _, err := r.Subscription()
	if err != nil {
		t.Fatal(err)
	}
	if *s.GuardPercent != 5 || *s.GuardMinimum != 3 || s.NoGuard {
		t.Errorf("the guard: %+v", s)
	}
	if len(s.Source.Servers) != 1 || s.Source.Servers[0].Host != "b" || s.Source.Servers[0].Protocol != "ldaps" || s.Source.Servers[0].Port != 6360 {
		t.Errorf("servers %+v", s.Source.Servers)
	}
	src := s.Source
	src.Protocol, src.Host, src.Port, src.Servers, src.Base, src.Attributes, src.Filter, src.Scope = "", "", 0, nil, "", nil, "", ""
	if !reflect.DeepEqual(src, given) {
		t.Errorf("beside the URL: %+v, want %+v", src, given)
	}
	if s.Kind != engine.KindList || s.ContentFilter != "(sn=*)" || !slices.Equal(s.ContentAttributes, []string{"sn"}) || !s.NoDNRewrite || !s.KeepWarm || !s.ForwardBind || s.Source.Base != "o=x" {
		t.Errorf("%+v", s)
	}
	fields := Request{ID: "x", Name: "cn=x", Source: upstream.Source{Protocol: "ldap", Host: "a", Servers: []upstream.Server{{Protocol: "ldap", Host: "b"}}}}
	if s, _, err := fields.Subscription(); err != nil || s.Kind != engine.KindTree || len(s.Source.Servers) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	for field, src := range map[string]upstream.Source{"socket": {Socket: "/s"}, "servers": {Servers: []upstream.Server{{Host: "b"}}}} {
		r := Request{ID: "x", URL: "ldap://h/o=x", Source: src}
		if _, _, err := r.Subscription(); err == nil || !strings.Contains(err.Error(), "separate "+field) {
			t.Errorf("%s beside a URL: %v", field, err)
		}
	}
}

// R56: all that is wrong with a document comes at once, in its order: what no
// record can be made of, and what the engine says of the others.
func TestAllFaults(t *testing.T) {
	f := story()
	f.faults = engine.Faults{{Subscription: "b", Field: "name", Reason: "outside"}, {Subscription: "d", Field: "source.filter", Reason: "unbalanced"}}
	doc := `{"subscriptions":[{"id":"a","name":"cn=a","url":"http://h/"},{"id":"b","name":"cn=b","url":"ldap://h/o=b"},
	  {"id":"c","name":"cn=c","url":"ldap://h/o=c","urls":["ldap://h/o=c"]},{"id":"d","name":"cn=d","url":"ldap://h/o=d"},{"id":"d","name":"cn=d","url":"ldap://h/o=d"}]}`
	code, header, text := raw(t, served(t, f), "POST", "/api/v1/apply?prune=true", doc)
	var p Problem
	if err := json.Unmarshal([]byte(text), &p); err != nil || code != 400 || header.Get("Content-Type") != "application/problem+json" || p.Kind != "invalid" {
		t.Fatalf("%d %s", code, text)
	}
	var got []string
	for _, fault := range p.Faults {
		got = append(got, fault.Subscription+" "+fault.Field)
	}
	if want := []string{"a url", "b name", "c url", "d id", "d source.filter"}; !slices.Equal(got, want) || p.Detail != "5 faults; nothing has changed" {
		t.Errorf("%q %q", got, p.Detail)
	}
	// The engine was asked for its faults alone: nothing is removed, nothing changed.
	if !slices.Equal(f.calls, []string{"apply 2 prune=false dry"}) {
		t.Errorf("asked %q", f.calls)
	}
	f = story()
	f.faults = engine.Faults{{Subscription: "a", Reason: "one alone"}}
	if _, _, text := raw(t, served(t, f), "POST", "/api/v1/apply", `{"subscriptions":[{"id":"a","name":"cn=a","url":"ldap://h/o=a"}]}`); !strings.Contains(text, `subscription \"a\": one alone; nothing has changed`) {
		t.Error(text)
	}
	// A refusal of the whole is a fault among the others; a failure is a failure.
	for _, c := range []struct {
		err   error
		code  int
		words string
	}{{&queue.Refusal{Kind: "no-base", Reason: "no base"}, 400, `"reason": "no base"`}, {engine.ErrClosed, 503, "closing"}} {
		code, _, text := raw(t, served(t, &fake{err: c.err}), "POST", "/api/v1/apply", `{"subscriptions":[{"id":"a","name":"cn=a","url":"http://h/"}]}`)
		if code != c.code || !strings.Contains(text, c.words) {
			t.Errorf("%v: %d %s", c.err, code, text)
		}
	}
}

// R9: what was repaired in a document is said with its subscription.
func TestApplyWarnings(t *testing.T) {
	_, _, text := raw(t, served(t, story()), "POST", "/api/v1/apply", `{"subscriptions":[{"id":"a","name":"cn=a","url":"ldap://h/o=x???((a=b)(c=d))"}]}`)
	if !strings.Contains(text, "a: filter ((a=b)(c=d)) lacks an operator") {
		t.Error(text)
	}
}

// Values of fields come as texts or as JSON has them, and the engine gets them by
// their names on the command line.
func TestFields(t *testing.T) {
	f := story()
	body := `{"port":636,"starttls":true,"attributes":["cn","mail"],"filter":null,"bind_dn":"cn=a","no-dn-rewrite":"false","poll":"5m","url":["ldap://a/o=x?cn,sn","ldap://b"],"content_attributes":[]}`
	if code, _, text := raw(t, served(t, f), "PATCH", "/api/v1/subscriptions/x", body); code != 200 {
		t.Fatal(text)
	}
	want := map[string]string{"port": "636", "starttls": "true", "attributes": "cn,mail", "filter": "", "bind-dn": "cn=a", "no-dn-rewrite": "false", "poll": "5m",
		"url": "ldap://a/o=x?cn,sn ldap://b", "content-attributes": ""}
	if !maps.Equal(f.fields, want) {
		t.Errorf("got %q", f.fields)
	}
}

// Export gives fields and no URL, so that a file that comes back says each thing once.
func TestExported(t *testing.T) {
	_, _, text := raw(t, served(t, story()), "GET", "/api/v1/export", "")
	if strings.Contains(text, `"url"`) || !strings.Contains(text, `"host": "ldap.suse.example"`) {
		t.Error(text)
	}
	if _, _, text := raw(t, served(t, &fake{}), "GET", "/api/v1/export", ""); !strings.Contains(text, `"subscriptions": []`) {
		t.Error(text)
	}
}

// R47: who and why go to the engine with every request.
func TestActor(t *testing.T) {
	for _, c := range []struct {
		peer, reason string
		code         int
	}{
		{"uid 0 (root) over the control socket", "ticket 7: Grüße", 200}, {"", "", 200},
		{"x", strings.Repeat("x", maxReason), 200}, {"x", strings.Repeat("x", maxReason+1), 400},
		{"x", "a\tb", 400}, {"x", "\xff", 400}, {"x", "a\u202eb", 400},
	} {
		f := story()
		req := httptest.NewRequest("DELETE", "/api/v1/subscriptions/x", nil)
		req.Header.Set(ReasonHeader, c.reason)
		w := httptest.NewRecorder()
		ctx := req.Context()
		if c.peer != "" {
			ctx = WithPeer(ctx, func() string { return c.peer })
		}
		Handler(f, "", slog.New(slog.DiscardHandler)).ServeHTTP(w, req.WithContext(ctx))
		code, actor := w.Code, f.actor
		want := engine.Actor{Who: c.peer, Why: c.reason}
		if c.peer == "" {
			want.Who = "someone unknown"
		}
		if c.code != 200 {
			want = engine.Actor{}
		}
		if code != c.code || actor != want {
			t.Errorf("%q %.20q: %d %+v", c.peer, c.reason, code, actor)
		}
	}
}

// The reason is no place for a second line or a flood.
func TestReasonOnTheCommandLine(t *testing.T) {
	for _, why := range []string{"two\nlines", strings.Repeat("x", maxReason+1), "\xff", "bell\a"} {
		f := story()
		code, _, errs := shaft(served(t, f), "subscription", "remove", "suse", "--why", why)
		if code != ExitUsage || !strings.Contains(errs, "--why: the reason") || len(f.calls) > 0 {
			t.Errorf("%.20q: exit %d %q, asked %q", why, code, errs, f.calls)
		}
	}
	f := story()
	if code, _, errs := shaft(served(t, f), "subscription", "remove", "suse", "--why", "Grüße, ticket 7"); code != ExitDone || fmt.Sprint(f.calls) != "[remove suse real]" {
		t.Errorf("exit %d %s", code, errs)
	}
}
