package operator

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/pkg/engine"
	"shaft/pkg/queue"
)

// document fetches the OpenAPI document as a client does.
func document(t *testing.T) object {
	t.Helper()
	code, _, text := raw(t, served(t, story()), "GET", "/api/v1/openapi.json", "")
	var doc object
	if err := json.Unmarshal([]byte(text), &doc); err != nil || code != 200 {
		t.Fatalf("%d %v", code, err)
	}
	return doc
}

// get walks down a path of keys.
func get(v any, keys ...string) any {
	for _, k := range keys {
		m, ok := v.(object)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return v
}

// conform is enough of JSON Schema 2020-12 for what the document uses; a keyword
// that it does not know is a fault too.
func conform(doc object, schema any, v any, at string) (faults []string) {
	s, ok := schema.(object)
	if !ok {
		return []string{at + ": no schema"}
	}
	fail := func(format string, args ...any) { faults = append(faults, at+": "+fmt.Sprintf(format, args...)) }
	if ref, ok := s["$ref"].(string); ok {
		name, ok := strings.CutPrefix(ref, "#/components/schemas/")
		if !ok || get(doc, "components", "schemas", name) == nil {
			return []string{at + ": " + ref + " is not there"}
		}
		return conform(doc, get(doc, "components", "schemas", name), v, at)
	}
	for keyword := range s {
		if !slices.Contains([]string{"type", "format", "properties", "required", "additionalProperties", "items", "minItems", "maxItems",
			"minimum", "maximum", "maxLength", "minProperties", "default"}, keyword) {
			fail("keyword %s", keyword)
		}
	}
	if types := s["type"]; types != nil && !isType(types, v) {
		fail("%v is not %v", v, types)
		return faults
	}
	switch v := v.(type) {
	case object:
		required, _ := s["required"].([]any)
		for _, k := range required {
			if _, ok := v[k.(string)]; !ok {
				fail("%v is missing", k)
			}
		}
		for k, one := range v {
			sub := get(s, "properties", k)
			if sub == nil {
				sub = s["additionalProperties"]
			}
			switch sub := sub.(type) {
			case bool:
				if !sub {
					fail("%s is not described", k)
				}
			case object:
				faults = append(faults, conform(doc, sub, one, at+"."+k)...)
			}
		}
		if n, ok := s["minProperties"].(float64); ok && len(v) < int(n) {
			fail("%d properties", len(v))
		}
	case []any:
		if n, ok := s["minItems"].(float64); ok && len(v) < int(n) {
			fail("%d items", len(v))
		}
		for i, one := range v {
			if s["items"] == nil {
				break // any will do
			}
			faults = append(faults, conform(doc, s["items"], one, fmt.Sprintf("%s[%d]", at, i))...)
		}
	case string:
		if _, err := time.Parse(time.RFC3339, v); s["format"] == "date-time" && err != nil {
			fail("%v", err)
		}
	}
	return faults
}

func isType(types, v any) bool {
	list, ok := types.([]any)
	if !ok {
		list = []any{types}
	}
	var is []any
	switch v := v.(type) {
	case nil:
		is = []any{"null"}
	case bool:
		is = []any{"boolean"}
	case string:
		is = []any{"string"}
	case float64:
		is = []any{"number"}
		if v == float64(int64(v)) {
			is = append(is, "integer")
		}
	case []any:
		is = []any{"array"}
	case object:
		is = []any{"object"}
	}
	return slices.ContainsFunc(is, func(t any) bool { return slices.Contains(list, t) })
}

// R54: the document is OpenAPI 3.1 in structure, and has each route of the mux.
func TestOpenAPIStructure(t *testing.T) {
	doc := document(t)
	if doc["openapi"] != "3.1.0" || get(doc, "info", "title") != "Shaft" || get(doc, "info", "version") != "1.2.3" {
		t.Errorf("%v %v", doc["openapi"], doc["info"])
	}
	seen := map[any]bool{}
	for path, item := range doc["paths"].(object) {
		for method, one := range item.(object) {
			op := one.(object)
			if id := op["operationId"]; id == "" || seen[id] || !regexp.MustCompile(`^[A-Za-z]+$`).MatchString(id.(string)) {
				t.Errorf("%s %s: operationId %v", method, path, id)
			}
			seen[op["operationId"]] = true
			if op["summary"] == "" {
				t.Errorf("%s %s has no summary", method, path)
			}
			params, _ := op["parameters"].([]any)
			inPath := 0
			for _, p := range params {
				param := p.(object)
				where := param["in"].(string)
				if param["name"] == "" || param["description"] == "" || !slices.Contains([]string{"path", "query", "header"}, where) || get(param, "schema", "type") == nil {
					t.Errorf("%s %s: parameter %v", method, path, param)
				}
				if where == "path" {
					inPath++
					if param["required"] != true || !strings.Contains(path, "{"+param["name"].(string)+"}") {
						t.Errorf("%s %s: parameter %v", method, path, param)
					}
				}
			}
			if inPath != strings.Count(path, "{") {
				t.Errorf("%s %s: %d path parameters", method, path, inPath)
			}
			responses := op["responses"].(object)
			if responses["default"] == nil || responses["200"] == nil {
				t.Errorf("%s %s: answers %v", method, path, slices.Collect(maps.Keys(responses)))
			}
			for code, r := range responses {
				if get(r, "description") == "" || len(get(r, "content").(object)) != 1 {
					t.Errorf("%s %s: answer %s is %v", method, path, code, r)
				}
			}
			i := slices.IndexFunc(routes, func(r route) bool { return strings.ToLower(r.method) == method && prefix+r.path == path })
			if i < 0 || (op["requestBody"] != nil) != (routes[i].takes != nil) {
				t.Errorf("%s %s: body %v", method, path, op["requestBody"])
			}
		}
	}
	if len(seen) != len(routes) {
		t.Errorf("%d operations of %d routes", len(seen), len(routes))
	}
	refs := regexp.MustCompile(`"#/components/schemas/(\w+)"`)
	text, _ := json.Marshal(doc)
	used := map[string]bool{}
	for _, m := range refs.FindAllStringSubmatch(string(text), -1) {
		used[m[1]] = true
		if get(doc, "components", "schemas", m[1]) == nil {
			t.Errorf("%s is referred to and not there", m[1])
		}
	}
	for name := range get(doc, "components", "schemas").(object) {
		if !used[name] {
			t.Errorf("%s is referred to by nothing", name)
		}
	}
}

// What the mux takes is what the table has: each route answers, and no other.
func TestOpenAPIRoutesAnswer(t *testing.T) {
	doc := document(t)
	h := Handler(story(), "", slog.New(slog.DiscardHandler))
	for path, item := range doc["paths"].(object) {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "1"), nil))
			_, described := item.(object)[strings.ToLower(method)]
			if described == (w.Code == http.StatusMethodNotAllowed) {
				t.Errorf("%s %s: described %v, and answers %d", method, path, described, w.Code)
			}
		}
	}
}

// Real answers of the handlers are what the document says: done, dry, refused.
func TestOpenAPIAnswersConform(t *testing.T) {
	doc := document(t)
	add := `{"id":"x","name":"cn=x","url":"ldap://h/o=x"}`
	refusing, removed := story(), story()
	lingering(removed)
	refusing.faults = engine.Faults{{Subscription: "x", Field: "source.filter", Reason: "words"}, {Reason: "more"}}
	for _, c := range []struct {
		method, path, route, body string
		code                      int
		with                      *fake
	}{
		{"GET", "/status", "/status", "", 200, nil},
		{"GET", "/subscriptions", "/subscriptions", "", 200, nil},
		{"GET", "/subscriptions", "/subscriptions", "", 200, &fake{}},
		{"POST", "/subscriptions", "/subscriptions", add, 201, nil},
		{"POST", "/subscriptions?dry_run=true", "/subscriptions", add, 200, nil},
		{"POST", "/subscriptions", "/subscriptions", "{", 400, nil},
		{"GET", "/subscriptions/dpkg", "/subscriptions/{id}", "", 200, nil},
		{"GET", "/subscriptions/none", "/subscriptions/{id}", "", 404, nil},
		{"PATCH", "/subscriptions/x", "/subscriptions/{id}", `{"port":636}`, 200, nil},
		{"DELETE", "/subscriptions/x", "/subscriptions/{id}", "", 200, nil},
		{"POST", "/subscriptions/x/check", "/subscriptions/{id}/check", "", 200, nil},
		{"GET", "/subscriptions/x/state", "/subscriptions/{id}/state", "", 200, nil},
		{"GET", "/subscriptions/x/members", "/subscriptions/{id}/members", "", 200, nil},
		{"GET", "/subscriptions/x/members", "/subscriptions/{id}/members", "", 200, &fake{}},
		{"GET", "/names", "/names", "", 200, nil},
		{"GET", "/names", "/names", "", 200, &fake{}},
		{"GET", "/names/cn=SuSe,ou=Package%20Listers", "/names/{dn}", "", 200, nil},
		{"DELETE", "/names/cn=x", "/names/{dn}", "", 200, nil},
		{"POST", "/names/cn=x/resync?dry_run=true", "/names/{dn}/resync", "", 200, nil},
		{"POST", "/names/cn=x/rename", "/names/{dn}/rename", `{"to":"cn=y","claim":"a"}`, 200, nil},
		{"POST", "/names/cn=x/rename", "/names/{dn}/rename", `{"to":"cn=y"}`, 412, &fake{err: &queue.Refusal{Kind: queue.KindStale, Reason: "words"}}},
		{"GET", "/names/cn=x/history", "/names/{dn}/history", "", 200, nil},
		{"GET", "/names/cn=SuSe,ou=Package%20Listers/history", "/names/{dn}/history", "", 200, nil},
		{"GET", "/availability/suse", "/availability/{source}", "", 200, nil},
		{"POST", "/queues/cn=x/move", "/queues/{dn}/move", `{"claim":"a","position":1}`, 200, nil},
		{"POST", "/queues/cn=x/switch", "/queues/{dn}/switch", `{"claim":"a"}`, 200, nil},
		{"POST", "/queues/cn=x/switch?dry_run=true", "/queues/{dn}/switch", `{"claim":"a","force":false}`, 200, nil},
		{"POST", "/queues/cn=x/switch", "/queues/{dn}/switch", `{"claim":"a","force":true}`, 400, nil},
		{"POST", "/queues/cn=x/diff", "/queues/{dn}/diff", `{"claim":"a"}`, 200, nil},
		{"POST", "/claims/a/suppress?dry_run=true", "/claims/{claim}/suppress", "", 200, nil},
		{"POST", "/claims/a/lift", "/claims/{claim}/lift", "", 200, nil},
		{"GET", "/alarms", "/alarms", "", 200, nil},
		{"GET", "/alarms", "/alarms", "", 200, &fake{}},
		{"POST", "/alarms/x/ack", "/alarms/{alarm}/ack", `{"note":"n","until":"2026-01-03T00:00:00Z"}`, 200, nil},
		{"POST", "/alarms/x/ack", "/alarms/{alarm}/ack", `{}`, 200, nil},
		{"POST", "/alarms/x/unack", "/alarms/{alarm}/unack", "", 200, nil},
		{"GET", "/queues/cn=SuSe,ou=Package%20Listers", "/queues/{dn}", "", 200, nil},
		{"GET", "/queues/cn=SuSe,ou=Package%20Listers", "/queues/{dn}", "", 200, removed},
		{"GET", "/names", "/names", "", 200, removed},
		{"GET", "/tasks", "/tasks", "", 200, nil},
		{"GET", "/tasks?limit=1", "/tasks", "", 200, &fake{}},
		{"GET", "/tasks/11", "/tasks/{id}", "", 200, nil},
		{"GET", "/tasks/99", "/tasks/{id}", "", 404, nil},
		{"GET", "/export", "/export", "", 200, nil},
		{"POST", "/apply", "/apply", `{"subscriptions":[` + add + `]}`, 200, nil},
		{"POST", "/apply", "/apply", `{"subscriptions":[],"decisions":[{"list":"dpkg","entry":"u","name":"cn=x","suppressed":true}]}`, 200, nil},
		{"POST", "/apply", "/apply", `{"subscriptions":[` + add + `]}`, 400, refusing},
		{"GET", "/openapi.json", "/openapi.json", "", 200, nil},
	} {
		f := c.with
		if f == nil {
			f = story()
		}
		code, header, text := raw(t, served(t, f), c.method, "/api/v1"+c.path, c.body)
		op := get(doc, "paths", "/api/v1"+c.route, strings.ToLower(c.method))
		response := get(op, "responses", fmt.Sprint(code))
		if response == nil {
			response = get(op, "responses", "default")
		}
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil || code != c.code {
			t.Errorf("%s %s: %d %v", c.method, c.path, code, err)
			continue
		}
		schema := get(response, "content", header.Get("Content-Type"), "schema")
		for _, fault := range conform(doc, schema, v, c.method+" "+c.path) {
			t.Error(fault)
		}
		if body := get(op, "requestBody", "content", "application/json", "schema"); body != nil && code < 300 {
			_ = json.Unmarshal([]byte(c.body), &v) // it was taken, so it is JSON
			for _, fault := range conform(doc, body, v, "body of "+c.path) {
				t.Error(fault)
			}
		}
	}
}

// The judge of the other tests can say no.
func TestConform(t *testing.T) {
	doc := document(t)
	for _, c := range []struct{ schema, text, words string }{
		{"Task", `{}`, "id is missing"},
		{"Task", `{"id":"1","what":"","target":"","who":"","began":"2026-01-02T03:04:05Z","state":"","steps":[]}`, "1 is not integer"},
		{"Task", `{"id":1,"what":"","target":"","who":"","began":"yesterday","state":"","steps":[]}`, "cannot parse"},
		{"Task", `{"id":1,"what":"","target":"","who":"","began":"2026-01-02T03:04:05Z","state":"","steps":null}`, "is not array"},
		{"Task", `{"id":1,"what":"","target":"","who":"","began":"2026-01-02T03:04:05Z","state":"","steps":[],"extra":1}`, "extra is not described"},
		{"RequestInput", `{"id":"x"}`, "name is missing"},
	} {
		var v any
		if err := json.Unmarshal([]byte(c.text), &v); err != nil {
			t.Fatal(err)
		}
		if faults := conform(doc, get(doc, "components", "schemas", c.schema), v, ""); len(faults) == 0 || !strings.Contains(strings.Join(faults, ";"), c.words) {
			t.Errorf("%s: %q", c.text, faults)
		}
	}
}
