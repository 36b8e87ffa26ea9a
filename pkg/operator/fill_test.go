package operator

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"shaft/pkg/engine"
)

// Lists and maps are never null, at any depth; what is left out stays so, and what
// was given is not touched.
func TestFilled(t *testing.T) {
	ended := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, c := range []struct {
		given any
		want  string
	}{
		{[]engine.Task(nil), `[]`},
		{&engine.Applied{}, `{"added":[],"changed":[],"removed":[],"unchanged":[],"warnings":[]}`},
		{[]engine.Task{{Began: ended, Ended: &ended}}, `[{"id":0,"what":"","target":"","who":"","began":"2026-01-02T03:04:05.000000006Z","ended":"2026-01-02T03:04:05.000000006Z","state":"","steps":[]}]`},
		{engine.Found{Names: []engine.FoundName{{}}}, `{"entry":"","dn":"","names":[{"name":"","outcome":""}]}`},
		{&engine.Status{}, `{"base_dn":"","version":"","names":0,"entries":0,"subscriptions":0,"alarms":{},"context_csn":"","followers":0,"ready":false}`},
		{(*engine.Status)(nil), `null`},
		{nil, `null`},
	} {
		before, _ := json.Marshal(c.given)
		got, err := json.Marshal(filled(c.given))
		if err != nil || string(got) != c.want {
			t.Errorf("%T: %v\n%s\nwant\n%s", c.given, err, got, c.want)
		}
		if after, _ := json.Marshal(c.given); string(after) != string(before) {
			t.Errorf("%T was changed: %s", c.given, after)
		}
	}
	whole := story().names
	if got := filled(whole); !reflect.DeepEqual(got, any(whole)) {
		t.Errorf("got %+v", got)
	}
}
