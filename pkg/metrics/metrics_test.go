package metrics

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"shaft/pkg/engine"
	"shaft/pkg/ldapd"
	"shaft/pkg/store"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// world is what is watched, with a clock.
type world struct {
	mu      sync.Mutex
	now     time.Time
	figures *engine.Figures
	err     error // of the engine and of the store
	asked   int
	door    *ldapd.Figures
}

func (w *world) Figures(context.Context) (*engine.Figures, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.err != nil {
		return nil, w.err
	}
	return w.figures, nil
}

func (w *world) Usage() (store.Usage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return store.Usage{Size: 1 << 20, Space: store.Space{Free: 3 << 30, Total: 4 << 30}, Reserve: 1 << 27, Full: true, Changes: 7}, w.err
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func newWorld(f *engine.Figures) (*world, *Metrics) {
	w := &world{now: noon, figures: f}
	m := New(Options{Version: "1.2", Now: w.clock})
	m.Watch(Watched{Engine: w, Store: w, LDAP: func() *ldapd.Figures { return w.door }})
	return w, m
}

// get asks for the metrics once a new page is due.
func (w *world) get(t testing.TB, m *Metrics) string {
	t.Helper()
	w.pass(maxPageAge)
	r := httptest.NewRecorder()
	m.ServeHTTP(r, httptest.NewRequest("GET", "/metrics", nil))
	if r.Code != http.StatusOK {
		t.Fatalf("status %d: %s", r.Code, r.Body)
	}
	return r.Body.String()
}

// told wants lines in a page, and those that begin with an exclamation mark not.
func told(t *testing.T, page string, lines ...string) {
	t.Helper()
	all := strings.Split(page, "\n")
	for _, l := range lines {
		if not, absent := strings.CutPrefix(l, "!"); absent {
			if i := slices.IndexFunc(all, func(l string) bool { return strings.HasPrefix(l, not) }); i >= 0 {
				t.Errorf("there is %s", all[i])
			}
		} else if !slices.Contains(all, l) {
			name, _, _ := strings.Cut(l, "{")
			name, _, _ = strings.Cut(name, " ")
			var near []string
			for _, l := range all {
				if strings.HasPrefix(l, name) {
					near = append(near, l)
				}
			}
			t.Errorf("%s is missing; there are\n%s", l, strings.Join(near, "\n"))
		}
	}
}

func storyFigures() *engine.Figures {
	return &engine.Figures{
		At: noon, BaseDN: "ou=Package Listers", Entries: 5, LastChange: noon.Add(-time.Second), SchemaClashes: 2, Trees: 2, Lists: 1,
		Names: []engine.NameFigures{
			{DN: "cn=SuSe,ou=Package Listers", State: "live", LastKnownGood: true, Entries: 4, Waiting: 1},
			{DN: `cn=Say \"hi\"\\,ou=Package Listers`, State: "down"},
		},
		Sources: []engine.SourceFigures{
			{ID: "suse", Subscription: "suse", Name: "cn=SuSe,ou=Package Listers", Role: engine.RoleHead, URL: "ldap://a/o=SuSe??sub",
				State: "live", Online: true, LastContact: noon.Add(-3 * time.Second), LastChange: noon.Add(-time.Hour), Entries: 4},
			{ID: "dpkg/1", Subscription: "dpkg", Name: "cn=SuSe,ou=Package Listers", Role: engine.RoleWaiting, State: "down"},
			{ID: "dpkg", Subscription: "dpkg", Role: engine.RoleList, State: "polling", Online: true, LastContact: noon.Add(time.Hour), Entries: 9},
		},
		Alarms: []engine.Alarm{
			{ID: "clash-1", Kind: "clash", Severity: "warning", Name: "cn=SuSe,ou=Package Listers", Subscription: "suse", Since: noon,
				Cause: "2 claims: dpkg/1, suse", Serial: 12, Text: "#12: 2 claims: suse, dpkg/1", Fingerprint: "ab", Acknowledged: true},
			{ID: "down-1", Kind: "down", Severity: "average", Subscription: "dpkg", Since: noon, Serial: 7, Text: "#7: bad \xff octet", Fingerprint: "cd"},
		},
	}
}

// silent is an engine that does not answer until it is let, as where its disk hangs.
type silent struct {
	*world
	let chan struct{}
}

func (s silent) Figures(ctx context.Context) (*engine.Figures, error) {
	<-s.let
	return s.world.Figures(ctx)
}

// R52: where neither writer nor store answer, scrapes get what was told last, and no more than
// one look waits; once they answer, that shows.
func TestWhatDoesNotAnswerIsNotWaitedFor(t *testing.T) {
	w, m := newWorld(storyFigures())
	told(t, w.get(t, m), "shaft_entries 5", "shaft_store_full 1")
	e := silent{w, make(chan struct{})}
	m.Watch(Watched{Engine: e, Store: w})
	w.mu.Lock()
	w.figures = &engine.Figures{At: noon, Entries: 6}
	asked := w.asked
	w.mu.Unlock()
	for range 2 {
		told(t, w.get(t, m), "shaft_entries 5", "shaft_store_full 1")
	}
	close(e.let)
	told(t, w.get(t, m), "shaft_entries 6")
	if n := w.asked - asked; n < 1 || n > 2 {
		t.Errorf("%d looks", n)
	}
}

// R37, R50, R52: what the engine knows is told, each fact once.
func TestR52WhatTheEngineKnows(t *testing.T) {
	w, m := newWorld(storyFigures())
	w.now = noon.Add(-maxPageAge)
	told(t, w.get(t, m),
		`shaft_build_info{goversion="`+goVersion()+`",version="1.2"} 1`,
		`shaft_base_info{base_dn="ou=Package Listers"} 1`,
		`shaft_figures_timestamp_seconds 1.7673552e+09`,
		`shaft_last_change_timestamp_seconds 1.767355199e+09`,
		`shaft_entries 5`,
		`shaft_subscriptions{kind="list"} 1`,
		`shaft_subscriptions{kind="tree"} 2`,
		`shaft_schema_clashes 2`,
		`shaft_store_failed 0`,
		`shaft_names{state="live"} 1`,
		`shaft_names{state="down"} 1`,
		`shaft_names{state="held"} 0`,
		`shaft_name_last_known_good{name="cn=SuSe,ou=Package Listers"} 1`,
		`shaft_name_last_known_good{name="cn=Say \\\"hi\\\"\\\\,ou=Package Listers"} 0`,
		`shaft_name_entries{name="cn=SuSe,ou=Package Listers"} 4`,
		`shaft_name_waiting_claims{name="cn=SuSe,ou=Package Listers"} 1`,
		`shaft_source_info{name="cn=SuSe,ou=Package Listers",role="head",source="suse",subscription="suse",url="ldap://a/o=SuSe??sub"} 1`,
		`shaft_source_info{name="",role="list",source="dpkg",subscription="dpkg",url=""} 1`,
		`shaft_source_up{source="suse"} 1`,
		`shaft_source_up{source="dpkg/1"} 0`,
		`shaft_source_state{source="dpkg/1",state="down"} 1`,
		`!shaft_source_state{source="dpkg/1",state="live"}`,
		`shaft_source_contact_age_seconds{source="suse"} 3`,
		`shaft_source_contact_age_seconds{source="dpkg"} 0`, // a clock that was set back
		`!shaft_source_contact_age_seconds{source="dpkg/1"}`,
		`shaft_source_last_change_timestamp_seconds{source="suse"} 1.7673516e+09`,
		`shaft_source_entries{source="dpkg"} 9`,
		`shaft_alarms{kind="clash",severity="warning"} 1`,
		`shaft_alarms{kind="no-lkg",severity="disaster"} 0`,
		`shaft_alarm_info{alarm="clash-1",cause="2 claims: suse, dpkg/1",fingerprint="ab",kind="clash",name="cn=SuSe,ou=Package Listers",serial="12",severity="warning",subscription="suse"} 1`,
		"shaft_alarm_info{alarm=\"down-1\",cause=\"bad \uFFFD octet\",fingerprint=\"cd\",kind=\"down\",name=\"\",serial=\"7\",severity=\"average\",subscription=\"dpkg\"} 1",
		`shaft_alarm_acknowledged{alarm="clash-1"} 1`,
		`shaft_alarm_acknowledged{alarm="down-1"} 0`,
		`shaft_alarm_since_timestamp_seconds{alarm="down-1"} 1.7673552e+09`,
		`shaft_store_size_bytes 1.048576e+06`,
		`shaft_store_filesystem_free_bytes 3.221225472e+09`,
		`shaft_store_filesystem_size_bytes 4.294967296e+09`,
		`shaft_store_change_log_entries 7`,
		`shaft_store_reserve_bytes 1.34217728e+08`,
		`shaft_store_full 1`,
		`!shaft_ldap_connections`, // there is no door yet
		`!process_nonsense`,
	)
}

func goVersion() string {
	_, after, _ := strings.Cut(scrape(New(Options{})), `goversion="`)
	version, _, _ := strings.Cut(after, `"`)
	return version
}

func scrape(m *Metrics) string {
	r := httptest.NewRecorder()
	m.ServeHTTP(r, httptest.NewRequest("GET", "/metrics", nil))
	return r.Body.String()
}

// R52: the door's operations by type and result, connections, and followers.
func TestR52WhatTheDoorCounts(t *testing.T) {
	w, m := newWorld(nil)
	w.door = &ldapd.Figures{
		Connections: 3, MaxConnections: 10, Accepted: 12, Reading: 2, Writing: 1, BytesSent: 100, MessagesSent: 9, EntriesSent: 8, ReferralsSent: 1,
		Operations: []ldapd.OperationFigures{
			{Operation: "search", Initiated: 9, Completed: 7, Results: map[int]uint64{0: 4, 32: 1, 80: 1, 4711: 1}},
			{Operation: "compare"}, {Operation: "unbind", Initiated: 1, Completed: 1},
		},
		Followers: []ldapd.FollowerFigures{
			{Connection: 1, Peer: "192.0.2.1", Persisting: true}, {Connection: 2, Peer: "192.0.2.1", Persisting: true, Lag: 90 * time.Second},
			{Connection: 3, Peer: "uid 7", Lag: time.Second},
		},
	}
	told(t, w.get(t, m),
		`shaft_ldap_connections 3`, `shaft_ldap_connections_limit 10`, `shaft_ldap_connections_total 12`,
		`shaft_ldap_waiters{direction="read"} 2`, `shaft_ldap_waiters{direction="write"} 1`,
		`shaft_ldap_sent_bytes_total 100`, `shaft_ldap_sent_messages_total 9`, `shaft_ldap_sent_entries_total 8`, `shaft_ldap_sent_referrals_total 1`,
		`shaft_ldap_operations_started_total{operation="search"} 9`, `shaft_ldap_operations_running{operation="search"} 2`,
		`shaft_ldap_operations_total{operation="search",result="success"} 4`,
		`shaft_ldap_operations_total{operation="search",result="noSuchObject"} 1`,
		`shaft_ldap_operations_total{operation="search",result="other"} 2`,
		`shaft_ldap_operations_total{operation="compare",result="success"} 0`,
		`!shaft_ldap_operations_total{operation="unbind"`,
		`shaft_followers{stage="refresh"} 1`, `shaft_followers{stage="persist"} 2`, `shaft_followers_behind 2`,
		`shaft_follower_lag_seconds{peer="192.0.2.1"} 90`, `shaft_follower_lag_seconds{peer="uid 7"} 1`,
	)
}

// R52: durations are histograms, in seconds.
func TestR52Durations(t *testing.T) {
	w, m := newWorld(nil)
	m.Committed(3 * time.Millisecond)
	m.Committed(20 * time.Second)
	m.Refreshed(engine.RefreshDone, 2*time.Second)
	m.Refreshed(engine.RefreshBroken, time.Minute)
	told(t, w.get(t, m),
		`shaft_commit_duration_seconds_bucket{le="0.0025"} 0`, `shaft_commit_duration_seconds_bucket{le="0.005"} 1`,
		`shaft_commit_duration_seconds_bucket{le="10"} 1`, `shaft_commit_duration_seconds_count 2`,
		`shaft_refresh_duration_seconds_bucket{outcome="done",le="1"} 0`, `shaft_refresh_duration_seconds_bucket{outcome="done",le="5"} 1`,
		`shaft_refresh_duration_seconds_sum{outcome="broken"} 60`, `shaft_refresh_duration_seconds_count{outcome="held"} 0`,
	)
}

// R50: an alarm's series stays the same while its serial and text do, however its cause is
// worded meanwhile, so that a silence that names them holds.
func TestR50SeriesGoesWithTheSerial(t *testing.T) {
	w, m := newWorld(storyFigures())
	line := func(serial uint32, text, cause string) string {
		w.figures.Alarms = []engine.Alarm{{ID: "down-1", Kind: "down", Since: noon, Serial: serial, Text: text, Cause: cause, Fingerprint: "f"}}
		for _, l := range strings.Split(w.get(t, m), "\n") {
			if strings.HasPrefix(l, "shaft_alarm_info{") {
				return l
			}
		}
		t.Fatal("no alarm")
		return ""
	}
	first := line(1, "#1: refused", "refused")
	if again := line(1, "#1: refused", "refused again"); again != first {
		t.Errorf("the same cause in other words: %s, was %s", again, first)
	}
	if second := line(2, "#2: refused", "refused"); second == first {
		t.Errorf("another serial is told alike: %s", second)
	}
	if long := line(1, "#1: "+strings.Repeat("é", 4000), ""); len(long) > maxCause+300 || !strings.Contains(long, "é…") {
		t.Errorf("a cause of 8000 bytes takes %d", len(long))
	}
}

// A writer that does not answer leaves what it told last, with its time; R35: nothing vanishes.
func TestWriterThatDoesNotAnswer(t *testing.T) {
	w, m := newWorld(storyFigures())
	w.err = errors.New("busy")
	told(t, w.get(t, m), `!shaft_names`, `!shaft_store_size_bytes`, `shaft_commit_duration_seconds_count 0`)
	w.err = nil
	w.get(t, m)
	w.err = context.DeadlineExceeded
	told(t, w.get(t, m), `shaft_names{state="live"} 1`, `shaft_figures_timestamp_seconds 1.7673552e+09`, `!shaft_store_size_bytes`)
}

// A crowd of scrapers costs no more than one: the writer is asked once for all.
func TestScrapersShareAPage(t *testing.T) {
	w, m := newWorld(storyFigures())
	server := httptest.NewServer(m)
	defer server.Close()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			resp, err := http.Get(server.URL)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil || !strings.Contains(string(text), "shaft_entries 5\n") {
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
	wg.Wait()
	if w.asked != 1 {
		t.Errorf("the writer was asked %d times", w.asked)
	}
	w.pass(maxPageAge)
	scrape(m)
	w.pass(-time.Hour) // a clock that is set back keeps no page for an hour
	scrape(m)
	if w.asked != 3 {
		t.Errorf("the writer was asked %d times, want 3", w.asked)
	}
}

func TestHandler(t *testing.T) {
	_, m := newWorld(storyFigures())
	for _, tt := range []struct {
		method, accept string
		code           int
		encoding       string
	}{
		{"GET", "", 200, ""},
		{"GET", "gzip", 200, "gzip"},
		{"GET", "deflate, gzip;q=0.5", 200, "gzip"},
		{"GET", "gzip;q=0", 200, ""},
		{"GET", "gzip;q=0.000", 200, ""},
		{"GET", "zstd", 200, ""},
		{"HEAD", "", 200, ""},
		{"POST", "", 405, ""},
		{"DELETE", "gzip", 405, ""},
	} {
		t.Run(tt.method+" "+tt.accept, func(t *testing.T) {
			r, req := httptest.NewRecorder(), httptest.NewRequest(tt.method, "/metrics", nil)
			req.Header.Set("Accept-Encoding", tt.accept)
			m.ServeHTTP(r, req)
			if r.Code != tt.code || r.Header().Get("Content-Encoding") != tt.encoding {
				t.Fatalf("status %d, encoding %q", r.Code, r.Header().Get("Content-Encoding"))
			}
			if tt.code != 200 {
				return
			}
			if ct := r.Header().Get("Content-Type"); !strings.HasPrefix(ct, "text/plain; version=0.0.4") {
				t.Errorf("type %q", ct)
			}
			if tt.method == "HEAD" {
				if r.Body.Len() > 0 {
					t.Error("a body")
				}
				return
			}
			var in io.Reader = r.Body
			if tt.encoding == "gzip" {
				z, err := gzip.NewReader(r.Body)
				if err != nil {
					t.Fatal(err)
				}
				in = z
			}
			text, err := io.ReadAll(in)
			if err != nil || !strings.Contains(string(text), "\nshaft_entries 5\n") {
				t.Errorf("%v:\n%s", err, text)
			}
		})
	}
}

// Two names that read alike are a fault elsewhere; it is told, and ends nothing.
func TestFactsTwice(t *testing.T) {
	w, m := newWorld(storyFigures())
	w.figures.Names = append(w.figures.Names, w.figures.Names[0])
	r := httptest.NewRecorder()
	m.ServeHTTP(r, httptest.NewRequest("GET", "/metrics", nil))
	if r.Code != http.StatusInternalServerError || !strings.Contains(r.Body.String(), "the log says why") {
		t.Errorf("%d %s", r.Code, r.Body)
	}
}

// many are figures of n names with a source each, one in ten with an alarm.
func many(n int) *engine.Figures {
	f := &engine.Figures{At: noon}
	for i := range n {
		name, id := fmt.Sprintf("cn=Distribution %d,ou=Package Listers", i), fmt.Sprintf("list/%d", i)
		f.Names = append(f.Names, engine.NameFigures{DN: name, State: "live", LastKnownGood: true, Entries: i})
		f.Sources = append(f.Sources, engine.SourceFigures{ID: id, Subscription: "list", Name: name, Role: engine.RoleHead, State: "live",
			URL: fmt.Sprintf("ldap://ldap.example/cn=Distribution %d,dc=example??sub", i), Online: true, LastContact: noon, LastChange: noon, Entries: i})
		if i%10 == 0 {
			f.Alarms = append(f.Alarms, engine.Alarm{ID: fmt.Sprintf("clash-%d", i), Kind: "clash", Severity: "warning", Name: name, Since: noon, Cause: "some words"})
		}
	}
	return f
}

// R52: the number of series is bounded by names, sources and alarms, whoever follows from wherever.
func TestSeriesAreBounded(t *testing.T) {
	w, m := newWorld(many(1000))
	w.door = &ldapd.Figures{}
	for i := range 5000 {
		w.door.Followers = append(w.door.Followers, ldapd.FollowerFigures{Connection: uint64(i), Peer: fmt.Sprintf("192.0.2.%d", i), Lag: time.Duration(i) * time.Second})
	}
	text := w.get(t, m)
	if n := strings.Count(text, "\nshaft_name_"); n != 3*1000 {
		t.Errorf("%d series of 1000 names", n)
	}
	if n := strings.Count(text, "\nshaft_source_"); n != 6*1000 {
		t.Errorf("%d series of 1000 sources", n)
	}
	if n := strings.Count(text, "\nshaft_alarm_"); n != 3*100 {
		t.Errorf("%d series of 100 alarms", n)
	}
	if n := strings.Count(text, "\nshaft_follower_lag_seconds{"); n != maxPeers+1 {
		t.Errorf("%d series of 5000 followers", n)
	}
	told(t, text, `shaft_follower_lag_seconds{peer="192.0.2.99"} 99`, `shaft_follower_lag_seconds{peer="other"} 4999`, `shaft_followers_behind 4999`)
}

func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w, m := newWorld(many(n))
			b.ReportAllocs()
			for b.Loop() {
				b.SetBytes(int64(len(w.get(b, m))))
			}
		})
	}
}
