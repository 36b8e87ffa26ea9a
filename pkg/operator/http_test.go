package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/pkg/engine"
	"shaft/pkg/queue"
	"shaft/pkg/upstream"
)

// Each route asks the engine for one thing and answers in JSON.
func TestRoutes(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		code               int
		call, words        string
	}{
		{"GET", "/api/v1/status", "", 200, "status", `"version": "1.2.3"`},
		{"GET", "/api/v1/subscriptions", "", 200, "subscriptions", `"id": "suse"`},
		{"GET", "/api/v1/subscriptions/suse", "", 200, "subscription suse", `"password_file": "/etc/shaft/pw"`},
		{"POST", "/api/v1/subscriptions", `{"id":"x","name":"cn=x","url":"ldap://h/o=x"}`, 201, "add x real", `"claim": "x"`},
		{"POST", "/api/v1/subscriptions?dry_run=true", `{"id":"x","name":"cn=x","url":"ldap://h/o=x"}`, 200, "add x dry", `"dry_run": true`},
		{"POST", "/api/v1/subscriptions?dry_run=false", `{"id":"x","name":"cn=x","url":"ldap://h/o=x"}`, 201, "add x real", `"warnings": []`},
		{"DELETE", "/api/v1/subscriptions/x", "", 200, "remove x real", `"names"`},
		{"DELETE", "/api/v1/subscriptions/x?dry_run=true", "", 200, "remove x dry", `"dry_run": true`},
		{"POST", "/api/v1/subscriptions/x/check", "", 200, "check x", `"ok": true`},
		{"GET", "/api/v1/names", "", 200, "names", `"last_known_good": true`},
		{"GET", "/api/v1/names/cn=SuSe,ou=Package%20Listers", "", 200, "name cn=SuSe,ou=Package Listers", `"entries": 4`},
		{"PATCH", "/api/v1/subscriptions/x", `{"filter":"(cn=*)"}`, 200, "set x real", `"effect"`},
		{"PATCH", "/api/v1/subscriptions/x?dry_run=true", `{"filter":null}`, 200, "set x dry", `"dry_run": true`},
		{"GET", "/api/v1/subscriptions/x/state", "", 200, "state x", `"state": "live"`},
		{"GET", "/api/v1/subscriptions/x/members", "", 200, "members x", `"problems"`},
		{"DELETE", "/api/v1/names/cn=x", "", 200, "remove name cn=x 0 real", `"names"`},
		{"DELETE", "/api/v1/names/cn=x?dry_run=true", "", 200, "remove name cn=x 0 dry", `"dry_run": true`},
		{"POST", "/api/v1/names/cn=x/resync", "", 200, "resync cn=x real", `"claim": "suse"`},
		{"POST", "/api/v1/names/cn=x/resync?dry_run=true", "", 200, "resync cn=x dry", `"audited": true`},
		{"POST", "/api/v1/names/cn=x/rename", `{"to":"cn=y"}`, 200, "rename cn=x cn=y  0 real", `"position": 1`},
		{"POST", "/api/v1/names/cn=x/rename?dry_run=true", `{"to":"cn=y","claim":"a"}`, 200, "rename cn=x cn=y a 0 dry", `"revision": 44`},
		{"POST", "/api/v1/queues/cn=x/move", `{"claim":"a","position":3}`, 200, "move cn=x a 3 0 real", `"queue"`},
		{"POST", "/api/v1/queues/cn=x/switch", `{"claim":"a"}`, 200, "switch cn=x a force=false 0 real", `"from": "suse"`},
		{"POST", "/api/v1/queues/cn=x/switch?dry_run=true", `{"claim":"a"}`, 200, "switch cn=x a force=false 0 dry", `"dry_run": true`},
		{"POST", "/api/v1/queues/cn=x/diff", `{"claim":"dpkg/1"}`, 200, "diff cn=x dpkg/1", `"what": "removed"`},
		{"POST", "/api/v1/claims/dpkg%2F1/suppress", "", 200, "suppress dpkg/1 0 real", `"claim": "dpkg/1"`},
		{"POST", "/api/v1/claims/dpkg%2F1/lift?dry_run=true", "", 200, "lift dpkg/1 0 dry", `"dry_run": true`},
		{"GET", "/api/v1/alarms", "", 200, "alarms", `"severity": "average"`},
		{"POST", "/api/v1/alarms/a%2Fb/ack", `{}`, 200, "ack a/b real", `"acknowledged": true`},
		{"POST", "/api/v1/alarms/x/ack?dry_run=true", `{"note":"n","until":"2026-01-03T00:00:00Z"}`, 200, "ack x dry", `"until": "2026-01-03T00:00:00Z"`},
		{"POST", "/api/v1/alarms/x/unack", "", 200, "unack x real", `"acknowledged": false`},
		{"GET", "/api/v1/availability/dpkg%2F1?from=2026-01-02T03:04:05%2B01:00", "", 200, "availability dpkg/1 2026-01-02T02:04:05Z 0001-01-01T00:00:00Z", `"up": 0.9975`},
		{"GET", "/api/v1/names/cn=x/history", "", 200, "history cn=x; name cn=x", `"what": "down"`},
		{"GET", "/api/v1/names/cn=SuSe,ou=Package%20Listers/history?to=2026-01-02T03:04:30Z", "", 200,
			"history cn=SuSe,ou=Package Listers; name cn=SuSe,ou=Package Listers; availability suse 0001-01-01T00:00:00Z 2026-01-02T03:04:30Z", `"what": "claimed"`},
		{"GET", "/api/v1/tasks", "", 200, "tasks", `"id": 11`},
		{"GET", "/api/v1/tasks/11", "", 200, "task 11", `"advice"`},
		{"GET", "/api/v1/export", "", 200, "export", `"subscriptions"`},
		{"POST", "/api/v1/apply", `{"subscriptions":[]}`, 200, "apply 0 prune=false real", `"unchanged"`},
		{"POST", "/api/v1/apply?prune=true&dry_run=true", `{"subscriptions":[{"id":"a","name":"cn=a","url":"ldap://h/o=a"}]}`, 200, "apply 1 prune=true dry", `"a"`},
		{"GET", "/api/v1/queues/cn=SuSe,ou=Package%20Listers", "", 200, "name cn=SuSe,ou=Package Listers", `"claims"`},
	} {
		f := story()
		code, header, text := raw(t, served(t, f), c.method, c.path, c.body)
		if code != c.code || header.Get("Content-Type") != "application/json" || !strings.Contains(text, c.words) || !json.Valid([]byte(text)) {
			t.Errorf("%s %s: %d %s\n%s", c.method, c.path, code, header.Get("Content-Type"), text)
		}
		if strings.Join(f.calls, "; ") != c.call {
			t.Errorf("%s %s asks %q, want %q", c.method, c.path, f.calls, c.call)
		}
	}
}

// subscriptions is the path of their routes.
const subscriptions = "/api/v1/subscriptions"

// badRequests are what is refused before anything is asked of the engine.
var badRequests = []struct {
	method, path, body string
	code               int
	kind, words        string
}{
	{"POST", subscriptions, ``, 400, "invalid", "empty"},
	{"POST", subscriptions, " \n", 400, "invalid", "empty"},
	{"POST", subscriptions, `{"id":"x",` + "\n" + `  "nam":"cn=x"}`, 400, "invalid", `line 2, column 3: unknown field "nam"`},
	{"POST", subscriptions, `{"id":"sauce",` + "\n" + `"sauce":{}}`, 400, "invalid", `unknown field "sauce"`},
	{"POST", subscriptions, `{"id":"x"} {"id":"y"}`, 400, "invalid", "line 1, column 12: something follows"},
	{"POST", subscriptions, `{"id":"x"}}`, 400, "invalid", "line 1, column 11: something follows"},
	{"POST", subscriptions, `{"id":"x"}` + "\n]", 400, "invalid", "line 2, column 1: something follows"},
	{"POST", subscriptions, "{\"id\":\"x\",\n\"source\":{\"port\":\"389\"}}", 400, "invalid", `field "source.port" is to be a whole number, not string`},
	{"POST", subscriptions, `{"id":5}`, 400, "invalid", `field "id" is to be a string, not number`},
	{"POST", subscriptions, `{"source":{"port":1.5}}`, 400, "invalid", `"source.port" is to be a whole number`},
	{"POST", subscriptions, `{"source":[]}`, 400, "invalid", `field "source" is to be an object, not array`},
	{"POST", subscriptions, `{"source":{"attributes":"cn"}}`, 400, "invalid", `is to be an array, not string`},
	{"POST", subscriptions, `{"source":{"starttls":"yes"}}`, 400, "invalid", `is to be true or false, not string`},
	{"POST", subscriptions, `[]`, 400, "invalid", "the value is to be an object, not array"},
	{"POST", subscriptions, "{\"id\":\n  nonsense}", 400, "invalid", "line 2, column 4: invalid character"},
	{"POST", subscriptions, "{\"ä\":1,\"id\":x}", 400, "invalid", "line 1, column 13: invalid character"},
	{"POST", subscriptions, `{"id":`, 400, "invalid", "line 1, column 7: the JSON ends too early"},
	{"POST", subscriptions, strings.Repeat("[", 100000), 400, "invalid", "depth"},
	{"POST", subscriptions, `{"id":"` + strings.Repeat("x", maxBody) + `"}`, 413, "too-large", "longer than 1048576 bytes"},
	{"POST", subscriptions + "?dry_run=1", `{"id":"x"}`, 400, "invalid", `dry_run is true or false, not "1"`},
	{"POST", subscriptions + "?dryrun=true", `{"id":"x"}`, 400, "invalid", `no parameter "dryrun"`},
	{"DELETE", subscriptions + "/x?dry-run=true", ``, 400, "invalid", `no parameter "dry-run"`},
	{"DELETE", subscriptions + "/x?dry_run=false&dry_run=true", ``, 400, "invalid", `true or false`},
	{"DELETE", subscriptions + "/x?dry_run=%zz", ``, 400, "invalid", `query`},
	{"POST", subscriptions, `{"id":"x","name":"cn=x","url":"ldap://h/o=x?","source":{"host":"h"}}`, 400, "invalid", "separate host"},
	{"POST", subscriptions, `{"id":"x","name":"cn=x","url":"ldap://h/o=x??sub?(cn=a"}`, 400, "invalid", "column"},
	{"POST", subscriptions + "?prune=true", `{"id":"x"}`, 400, "invalid", `no parameter "prune"`},
	{"GET", "/api/v1/tasks?limit=0", ``, 400, "invalid", `limit is a number from 1 to`},
	{"GET", "/api/v1/tasks?limit=many", ``, 400, "invalid", `not "many"`},
	{"GET", "/api/v1/tasks?limit=1&limit=2", ``, 400, "invalid", `not "1, 2"`},
	{"GET", "/api/v1/tasks?dry_run=true", ``, 400, "invalid", `no parameter "dry_run"`},
	{"GET", "/api/v1/tasks/seven", ``, 400, "invalid", `a number, not "seven"`},
	{"GET", "/api/v1/tasks/-1", ``, 400, "invalid", `a number`},
	{"GET", "/api/v1/tasks/99999999999999999999999", ``, 400, "invalid", `a number`},
	{"PATCH", subscriptions + "/x", `{}`, 400, "invalid", "names no field"},
	{"PATCH", subscriptions + "/x", `null`, 400, "invalid", "names no field"},
	{"PATCH", subscriptions + "/x", `[]`, 400, "invalid", "an object of fields"},
	{"PATCH", subscriptions + "/x", `{"port":1.5}`, 400, "invalid", `field "port" is to be a string, a whole number`},
	{"PATCH", subscriptions + "/x", `{"port":1e300}`, 400, "invalid", `field "port"`},
	{"PATCH", subscriptions + "/x", `{"source":{"port":1}}`, 400, "invalid", `field "source"`},
	{"PATCH", subscriptions + "/x", `{"attributes":["cn",1]}`, 400, "invalid", `field "attributes"`},
	{"PATCH", subscriptions + "/x", `{"attributes":["cn,sn"]}`, 400, "invalid", `field "attributes"`},
	{"PATCH", subscriptions + "/x", `{"bind_dn":"a","bind-dn":"b"}`, 400, "invalid", `stands twice`},
	{"PATCH", subscriptions + "/x", `{"filter":`, 400, "invalid", "too early"},
	{"POST", "/api/v1/names/cn=x/rename", `{}`, 400, "invalid", `"to" is missing`},
	{"POST", "/api/v1/names/cn=x/rename", ``, 400, "invalid", "empty"},
	{"POST", "/api/v1/names/cn=x/rename?force=true", `{"to":"cn=y"}`, 400, "invalid", `no parameter "force"`},
	{"POST", "/api/v1/queues/cn=x/move", `{"claim":"a"}`, 400, "invalid", "a claim and a position"},
	{"POST", "/api/v1/queues/cn=x/move", `{"claim":"a","position":0}`, 400, "invalid", "a claim and a position"},
	{"POST", "/api/v1/queues/cn=x/move", `{"position":1}`, 400, "invalid", "a claim and a position"},
	{"POST", "/api/v1/queues/cn=x/move", `{"claim":"a","position":"first"}`, 400, "invalid", `"position" is to be a whole number`},
	{"POST", "/api/v1/queues/cn=x/switch", `{}`, 400, "invalid", `"claim" is missing: the one that is to be shown`},
	{"POST", "/api/v1/queues/cn=x/switch", `{"claim":"a","force":true}`, 400, "invalid", "a switch that is forced needs a reason, in the header Shaft-Reason"},
	{"POST", "/api/v1/queues/cn=x/switch?dry_run=true", `{"claim":"a","force":true}`, 400, "invalid", "needs a reason"},
	{"POST", "/api/v1/queues/cn=x/switch?force=true", `{"claim":"a"}`, 400, "invalid", `no parameter "force"`},
	{"POST", "/api/v1/queues/cn=x/switch", `{"claim":"a","force":"yes"}`, 400, "invalid", `"force" is to be true or false`},
	{"POST", "/api/v1/queues/cn=x/switch", `{"claim":"a","reason":"x"}`, 400, "invalid", `unknown field "reason"`},
	{"POST", "/api/v1/queues/cn=x/diff", `{}`, 400, "invalid", `"claim" is missing: the one whose content`},
	{"POST", "/api/v1/queues/cn=x/diff?dry_run=true", `{"claim":"a"}`, 400, "invalid", `no parameter "dry_run"`},
	{"POST", "/api/v1/alarms/x/ack", `{"until":"2h"}`, 400, "invalid", `"until" is to be a time as RFC 3339 has it`},
	{"POST", "/api/v1/alarms/x/ack", `{"until":7}`, 400, "invalid", `"until" is to be a time`},
	{"POST", "/api/v1/alarms/x/ack", `{"note":"` + strings.Repeat("x", maxNote+1) + `"}`, 400, "invalid", `the note has 1025 bytes; at most 1024`},
	{"POST", "/api/v1/alarms/x/ack", `{"note":"a\u001b[2J"}`, 400, "invalid", `without control characters`},
	{"GET", "/api/v1/names/cn=x/history?from=yesterday", ``, 400, "invalid", `from is a time as RFC 3339 has it`},
	{"GET", "/api/v1/availability/x?to=2h", ``, 400, "invalid", `to is a time`},
	{"GET", "/api/v1/claims/dpkg/1/lift", ``, 404, "not-found", "there is no"},
	{"POST", "/api/v1/apply", ``, 400, "invalid", "empty"},
	{"POST", "/api/v1/apply", `{}`, 400, "invalid", "subscriptions is missing"},
	{"POST", "/api/v1/apply", `{"subscriptions":[],"prune":true}`, 400, "invalid", `line 1, column 21: unknown field "prune"`},
	{"POST", "/api/v1/apply?prune=yes", `{}`, 400, "invalid", `prune is true or false`},
	{"POST", "/api/v1/apply", `{"subscriptions":[` + strings.Repeat("{},", maxObjects) + `{}]}`, 400, "invalid", "more than 100000 objects"},
	{"POST", "/api/v1/apply", `{"subscriptions":"` + strings.Repeat("x", maxDocument) + `"}`, 413, "too-large", "longer than 8388608 bytes"},
	{"POST", subscriptions, `{"id":"x","name":"cn=x","url":"ldap://h/o=x","urls":["ldap://h/o=x"]}`, 400, "invalid", "url and urls"},
	{"POST", subscriptions, `{"id":"x","name":"cn=x","urls":["ldap://h/o=x","ldap://h/o=y"]}`, 400, "invalid", "URL number 2"},
	{"PUT", "/api/v1/status", ``, 405, "method", "it takes GET"},
	{"DELETE", subscriptions, ``, 405, "method", "it takes GET, POST"},
	{"PUT", subscriptions + "/x", ``, 405, "method", "it takes GET, PATCH, DELETE"},
	{"GET", subscriptions + "/x/check", ``, 405, "method", "it takes POST"},
	{"POST", "/api/v1/names/cn=x", ``, 405, "method", "it takes GET, DELETE"},
	{"GET", "/api/v1/frobnicate", ``, 404, "not-found", "there is no GET /api/v1/frobnicate"},
	{"GET", "/", ``, 404, "not-found", "there is no GET /"},
	{"GET", "/api/v1/names/a/b", ``, 404, "not-found", "there is no"},
}

// R56: what is refused is a problem of RFC 9457 with a kind, a status and the
// place in words; nothing is asked of the engine.
func TestBadRequests(t *testing.T) {
	for _, c := range badRequests {
		f := story()
		code, header, text := raw(t, served(t, f), c.method, c.path, c.body)
		var p Problem
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Errorf("%s %s %.40s: %v in\n%.300s", c.method, c.path, c.body, err, text)
			continue
		}
		if code != c.code || p.Status != code || p.Kind != c.kind || !strings.Contains(p.Detail, c.words) ||
			p.Type != "about:blank" || p.Title != http.StatusText(code) || header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s %.40s: %d\n%.300s", c.method, c.path, c.body, code, text)
		}
		if (code == 405) != (header.Get("Allow") != "") {
			t.Errorf("%s %s: Allow %q", c.method, c.path, header.Get("Allow"))
		}
		if len(f.calls) > 0 {
			t.Errorf("%s %s %.40s reaches the engine: %q", c.method, c.path, c.body, f.calls)
		}
	}
}

// What the engine refuses has the status of its kind.
func TestRefusalKinds(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		kind string
	}{
		{&queue.Refusal{Kind: "not-found", Reason: "words"}, 404, "not-found"},
		{&queue.Refusal{Kind: "exists", Reason: "words"}, 409, "exists"},
		{&queue.Refusal{Kind: "stale", Reason: "words"}, 412, "stale"},
		{&queue.Refusal{Kind: "invalid", Reason: "words"}, 400, "invalid"},
		{&queue.Refusal{Kind: "outside-base", Reason: "words"}, 422, "outside-base"},
		{&queue.Refusal{Kind: "no-base", Reason: "words"}, 422, "no-base"},
		{fmt.Errorf("wrapped: %w", &queue.Refusal{Kind: "exists", Reason: "words"}), 409, "exists"},
		{engine.ErrClosed, 503, "closing"},
		{context.Canceled, 503, "closing"},
		{errors.New("words"), 500, "failed"},
	} {
		socket := served(t, &fake{err: c.err})
		for _, request := range []string{"GET status", "GET subscriptions", "GET names", "GET names/x", "GET queues/x", "DELETE subscriptions/x", "POST subscriptions/x/check",
			"GET alarms", "POST alarms/x/unack", "POST claims/x/suppress", "POST claims/x/lift", "GET names/x/history", "GET availability/x"} {
			method, path, _ := strings.Cut(request, " ")
			code, _, text := raw(t, socket, method, "/api/v1/"+path, "")
			var p Problem
			if err := json.Unmarshal([]byte(text), &p); err != nil || code != c.code || p.Kind != c.kind || !strings.Contains(p.Detail, "words") && c.kind != "closing" {
				t.Errorf("%v: %s: %d %s %v", c.err, request, code, text, err)
			}
		}
	}
}

// Any DN and any id comes through the path as it is, by the client and by hand.
func TestPathValues(t *testing.T) {
	for _, dn := range []string{
		"cn=a,ou=b", "cn=a/b,ou=c", "cn=a//b/../c", "cn=100%,ou=%41", "cn=a+sn=b", "cn=Müller 漢字", "cn=a\\,b", `cn=a\2cb`, "cn=a?b=c#d", "cn=a;b&c",
		".", "..", "%2e", "+", " ", "cn=\x1b", "cn=" + strings.Repeat("x", 20000),
	} {
		none := stamp(time.Time{})
		f := &fake{names: []engine.Name{{DN: dn}}, subs: []engine.Subscription{{ID: dn}}}
		c := NewClient(served(t, f))
		ctx := context.Background()
		if n, _, err := c.Name(ctx, dn); err != nil || n.DN != dn {
			t.Errorf("name %.40q: %.40q, %v", dn, n.DN, err)
		}
		if q, _, err := c.Queue(ctx, dn); err != nil || q.DN != dn || len(q.Claims) != 1 {
			t.Errorf("queue %.40q: %v", dn, err)
		}
		if s, _, err := c.Subscription(ctx, dn); err != nil || s.ID != dn {
			t.Errorf("subscription %.40q: %v", dn, err)
		}
		if r, _, err := c.Remove(ctx, dn, true); err != nil || r.ID != dn || !r.DryRun {
			t.Errorf("remove %.40q: %v", dn, err)
		}
		if r, _, err := c.Check(ctx, dn); err != nil || r.ID != dn {
			t.Errorf("check %.40q: %v", dn, err)
		}
		if r, _, err := c.Resync(ctx, dn, true); err != nil || r.DN != dn {
			t.Errorf("resync %.40q: %v", dn, err)
		}
		if _, _, err := c.History(ctx, dn, time.Time{}, time.Time{}); err != nil {
			t.Errorf("history %.40q: %v", dn, err)
		}
		if r, _, err := c.RemoveName(ctx, dn, true); err != nil || r.Names[0] != dn {
			t.Errorf("remove name %.40q: %v", dn, err)
		}
		if _, _, err := c.Members(ctx, dn); err != nil {
			t.Errorf("members %.40q: %v", dn, err)
		}
		if r, _, err := c.Rename(ctx, dn, Rename{To: "cn=y"}, true); err != nil || r.From != dn {
			t.Errorf("rename %.40q: %v", dn, err)
		}
		if r, _, err := c.Move(ctx, dn, Move{Claim: queue.ClaimID(dn), Position: 1}, true); err != nil || r.DN != dn {
			t.Errorf("move %.40q: %v", dn, err)
		}
		if r, _, err := c.Suppress(ctx, dn, true); err != nil || string(r.Claim) != dn {
			t.Errorf("suppress %.40q: %v", dn, err)
		}
		want := []string{"name " + dn, "name " + dn, "subscription " + dn, "remove " + dn + " dry", "check " + dn,
			"resync " + dn + " dry", "history " + dn, "name " + dn, "availability  " + none + " " + none, "remove name " + dn + " 0 dry", "members " + dn,
			"rename " + dn + " cn=y  0 dry", "move " + dn + " " + dn + " 1 0 dry", "suppress " + dn + " 0 dry"}
		if !slices.Equal(f.calls, want) {
			t.Errorf("%.40q: asked %.200q", dn, f.calls)
		}
	}
	// With slashes as they are there is no such path; a + is no space.
	f := &fake{names: []engine.Name{{DN: "cn=a+sn=b"}}}
	if code, _, text := raw(t, served(t, f), "GET", "/api/v1/names/cn=a+sn=b", ""); code != 200 {
		t.Errorf("%d %s", code, text)
	}
}

// The names of the JSON fields are what scripts rely on.
func TestJSONFields(t *testing.T) {
	socket := served(t, story())
	keys := func(v any) []string { return slices.Sorted(maps.Keys(v.(map[string]any))) }
	get := func(path string) any {
		_, _, text := raw(t, socket, "GET", "/api/v1/"+path, "")
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	has := func(what string, v any, want ...string) {
		t.Helper()
		for _, k := range want {
			if !slices.Contains(keys(v), k) {
				t.Errorf("%s lacks %q: %q", what, k, keys(v))
			}
		}
	}
	has("status", get("status"), "base_dn", "version", "names", "entries", "subscriptions", "alarms", "context_csn", "followers", "ready")
	list := get("names").([]any)
	suse := list[1].(map[string]any)
	has("a name", suse, "dn", "head", "last_known_good", "entries", "queue", "alarms")
	has("head", suse["head"], "claim", "subscription", "url", "online", "state", "last_contact", "last_change")
	has("queue", suse["queue"].([]any)[0], "claim", "subscription", "url", "online")
	if empty := list[0].(map[string]any); empty["queue"] == nil || empty["alarms"] == nil {
		t.Errorf("empty lists are null: %v", empty)
	}
	has("a subscription", get("subscriptions/suse"), "id", "kind", "name", "url", "source")
	alarms := get("alarms").([]any)
	has("an alarm", alarms[0], "id", "kind", "severity", "name", "subscription", "since", "cause", "fingerprint", "acknowledged", "note")
	if a := alarms[2].(map[string]any); a["name"] != "" || a["note"] != "" || a["kind"] != "name-error" || a["severity"] != "warning" {
		t.Errorf("a list's alarm: %v", a)
	}
	has("a queue", get("queues/"+url.PathEscape("cn=SuSe,ou=Package Listers")), "dn", "claims")
	if v := get("queues/" + url.PathEscape("cn=SuSe,ou=Package Listers")).(map[string]any)["claims"].([]any); len(v) != 2 || v[0].(map[string]any)["claim"] != "suse" {
		t.Errorf("the head is not first: %v", v)
	}
}

// R8, R10: the URL and the fields make the same record; what a URL cannot say
// comes beside it, and the StartTLS that it asks for is not dropped.
func TestRequest(t *testing.T) {
	fields := Request{ID: "x", Name: "cn=x", Source: upstream.Source{Protocol: "ldap", Host: "H.example", Port: 3890, Base: "o=x",
		Attributes: []string{"cn", "mail"}, Scope: "one", Filter: "(cn=*)", BindDN: "cn=r", PasswordFile: "/pw", CAFile: "/ca", StartTLS: true}}
	byURL := Request{ID: "x", Name: "cn=x", URL: "ldap://h.example:3890/o=x?cn,mail?one?(cn=*)",
		Source: upstream.Source{BindDN: "cn=r", PasswordFile: "/pw", CAFile: "/ca", StartTLS: true}}
	a, _, err := fields.Subscription()
	if err != nil {
		t.Fatal(err)
	}
	a.Source.Host = "h.example" // the engine validates, which brings it into this form
	b, warnings, err := byURL.Subscription()
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if fmt.Sprintf("%+v", a) != fmt.Sprintf("%+v", b) || a.Kind != engine.KindTree {
		t.Errorf("by fields %+v\nby URL    %+v", a, b)
	}
	secure := Request{ID: "x", URL: "ldap://h/o=x????!StartTLS"}
	if s, _, err := secure.Subscription(); err != nil || !s.Source.StartTLS {
		t.Errorf("StartTLS of the URL is dropped: %+v, %v", s.Source, err)
	}
	odd := Request{ID: "x", URL: "ldap://h/o=x???((a=b)(c=d))"}
	if s, warnings, err := odd.Subscription(); err != nil || s.Source.Filter != "(&(a=b)(c=d))" || len(warnings) != 1 { // R9
		t.Errorf("%+v, %q, %v", s.Source, warnings, err)
	}
	for name, src := range map[string]upstream.Source{
		"protocol": {Protocol: "ldap"}, "host": {Host: "h"}, "port": {Port: 1}, "base": {Base: "o=x"}, "attributes": {Attributes: []string{"cn"}},
		"filter": {Filter: "(a=b)"}, "scope": {Scope: "sub"},
	} {
		r := Request{ID: "x", URL: "ldap://h/o=x", Source: src}
		_, _, err := r.Subscription()
		var refusal *queue.Refusal
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, "separate "+name) {
			t.Errorf("%s beside a URL: %v", name, err)
		}
	}
}

// R9: what was repaired in the URL stands before what the engine warns of.
func TestWarnings(t *testing.T) {
	f := story()
	f.added = &engine.Added{Warnings: []string{"second"}}
	_, _, text := raw(t, served(t, f), "POST", "/api/v1/subscriptions", `{"id":"x","name":"cn=x","url":"ldap://h/o=x???((a=b)(c=d))"}`)
	var out engine.Added
	if err := json.Unmarshal([]byte(text), &out); err != nil || len(out.Warnings) != 2 || !strings.Contains(out.Warnings[0], "operator") || out.Warnings[1] != "second" {
		t.Errorf("%v: %s", err, text)
	}
}

// A failure that is none of the operator's is logged; a refusal is not.
func TestFailuresAreLogged(t *testing.T) {
	for _, c := range []struct {
		err    error
		logged bool
	}{{errors.New("disk on fire"), true}, {missing("x"), false}, {engine.ErrClosed, false}, {context.Canceled, false}} {
		var log strings.Builder
		h := Handler(&fake{err: c.err}, "", slog.New(slog.NewTextHandler(&log, nil)))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/api/v1/names", nil))
		if (log.Len() > 0) != c.logged {
			t.Errorf("%v: logged %q", c.err, log.String())
		}
	}
}

// FuzzDecode: a body is taken, or refused with a place inside it; what is
// taken survives being printed.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"id":"x","name":"cn=x","url":"ldap://h/o=x","source":{"port":389,"attributes":["cn"]},"no_dn_rewrite":true}`))
	f.Add([]byte("{\"id\":\n5}"))
	f.Add([]byte(`{"id":"x"}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r Request
		err := decode(strings.NewReader(string(text)), &r)
		if err != nil {
			var refusal *queue.Refusal
			if !errors.As(err, &refusal) || !strings.HasPrefix(refusal.Reason, "request body") {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var r2 Request
		if err := decode(strings.NewReader(string(again)), &r2); err != nil {
			t.Errorf("%q becomes %q: %v", text, again, err)
		}
		if third, _ := json.Marshal(r2); string(third) != string(again) {
			t.Errorf("%q becomes %q, then %q", text, again, third)
		}
	})
}

// FuzzFields: fields are texts, or refused with a place; what is taken survives
// being printed.
func FuzzFields(f *testing.F) {
	f.Add([]byte(`{"port":636,"starttls":true,"attributes":["cn","mail"],"filter":null,"url":["ldap://a","ldap://b"]}`))
	f.Add([]byte(`{"port":1e2}`))
	f.Add([]byte(`{"a":{"b":[]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var fields, again Fields
		if err := decode(strings.NewReader(string(text)), &fields); err != nil {
			var refusal *queue.Refusal
			if !errors.As(err, &refusal) || !strings.HasPrefix(refusal.Reason, "request body") {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		printed, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		if err := decode(strings.NewReader(string(printed)), &again); err != nil || !maps.Equal(fields, again) {
			t.Errorf("%q becomes %q: %v", text, printed, err)
		}
	})
}
