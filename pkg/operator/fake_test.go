package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"shaft/pkg/alarm"
	"shaft/pkg/engine"
	"shaft/pkg/queue"
	"shaft/pkg/upstream"
)

// fake is an Engine that answers what it holds and remembers what it was asked.
type fake struct {
	mu           sync.Mutex // for calls: a queue is looked at while a switch is under way
	calls        []string
	dryDecisions int // in the last document that was only tried
	status       engine.Status
	subs         []engine.Subscription
	added        *engine.Added
	same         bool // what is set was so already
	names        []engine.Name
	check        engine.Checked
	err          error // answers everything, if set
	got          engine.Subscription
	fields       map[string]string // set last
	doc          engine.Document   // applied last; export gives it
	faults       engine.Faults     // of every document
	tasks        []engine.Task
	found        []engine.Found
	link         func() engine.Link // of sources
	actor        engine.Actor       // of the last removal
	alarms       []engine.Alarm
	held         []engine.HeldRefresh
	note         string    // of the last acknowledgement
	until        time.Time // of the same

	unknown bool // how often sources were there

	difference engine.Difference
	fetch      func()             // what a switch and a difference take their time for
	waiting    func() engine.Link // the one that waits, of any name, as it is meanwhile
}

func (f *fake) asked(what ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, strings.Join(what, " "))
}

func missing(what string) error {
	return &queue.Refusal{Kind: "not-found", Reason: "there is no " + what}
}

func dry(on bool) string {
	if on {
		return "dry"
	}
	return "real"
}

func (f *fake) Status(context.Context) (*engine.Status, error) {
	f.asked("status")
	s := f.status
	if f.err != nil {
		return nil, f.err
	}
	return &s, nil
}

func (f *fake) Subscriptions(context.Context) ([]engine.Subscription, error) {
	f.asked("subscriptions")
	return f.subs, f.err
}

func (f *fake) Subscription(_ context.Context, id string) (*engine.Subscription, error) {
	f.asked("subscription", id)
	for _, s := range f.subs {
		if s.ID == id && f.err == nil {
			return &s, nil
		}
	}
	return nil, errors.Join(f.err, missing(id))
}

func (f *fake) AddSubscription(_ context.Context, s engine.Subscription, dryRun bool) (*engine.Added, error) {
	f.asked("add", s.ID, dry(dryRun))
	f.got = s
	if f.err != nil {
		return nil, f.err
	}
	out := engine.Added{Subscription: s, Claim: queue.ClaimID(s.ID), Name: s.Name + ",ou=Package Listers", Check: f.check.Steps, DryRun: dryRun}
	if out.Check == nil {
		out.Check = []upstream.Step{}
	}
	if f.added != nil {
		out = *f.added
		out.DryRun = dryRun
	}
	return &out, nil
}

func (f *fake) RemoveSubscription(ctx context.Context, id string, dryRun bool) (*engine.Removed, error) {
	f.asked("remove", id, dry(dryRun))
	f.actor = engine.ActorOf(ctx)
	if f.err != nil {
		return nil, f.err
	}
	return &engine.Removed{ID: id, Names: []string{"cn=SuSe,ou=Package Listers"}, Warnings: []string{"next takes over"}, DryRun: dryRun}, nil
}

func (f *fake) CheckSubscription(_ context.Context, id string) (*engine.Checked, error) {
	f.asked("check", id)
	if f.err != nil {
		return nil, f.err
	}
	c := f.check
	c.ID = id
	return &c, nil
}

func (f *fake) Names(context.Context) ([]engine.Name, error) {
	f.asked("names")
	return f.names, f.err
}

func (f *fake) Name(_ context.Context, dn string) (*engine.Name, error) {
	f.asked("name", dn)
	if f.err != nil {
		return nil, f.err
	}
	var waiting []engine.Link
	if f.waiting != nil {
		waiting = []engine.Link{f.waiting()}
	}
	for _, n := range f.names {
		if n.DN == dn {
			if waiting != nil {
				n.Queue = waiting
			}
			return &n, nil
		}
	}
	return nil, missing(dn)
}

func (f *fake) SetSubscription(_ context.Context, id string, fields map[string]string, dryRun bool) (*engine.Changed, error) {
	f.asked("set", id, dry(dryRun))
	f.fields = fields
	if f.err != nil {
		return nil, f.err
	}
	if f.same {
		return &engine.Changed{Subscription: f.subs[0], Effect: "nothing changed", Check: []upstream.Step{}}, nil
	}
	if id == "dpkg" {
		return &engine.Changed{Subscription: f.subs[2], Fields: slices.Sorted(maps.Keys(fields)), Effect: "names follow", Check: []upstream.Step{},
			Found: f.found, Goes: []string{"cn=old,ou=Package Listers"}, Task: 7, DryRun: dryRun}, nil
	}
	return &engine.Changed{Subscription: f.subs[0], Fields: slices.Sorted(maps.Keys(fields)), Effect: "the session begins anew",
		Check: f.check.Steps, Warnings: []string{"it is slow"}, Task: 7, DryRun: dryRun}, nil
}

func (f *fake) SourceState(_ context.Context, id string) (*engine.Link, error) {
	f.asked("state", id)
	if f.err != nil {
		return nil, f.err
	}
	if f.link != nil {
		l := f.link()
		return &l, nil
	}
	return &f.names[1].Head, nil
}

func (f *fake) Members(_ context.Context, id string) ([]engine.Found, error) {
	f.asked("members", id)
	return f.found, f.err
}

func (f *fake) Backup(_ context.Context, w io.Writer, version string) (engine.BackedUp, error) {
	f.asked("backup", version)
	_, err := io.WriteString(w, "a backup")
	return engine.BackedUp{Records: 1, Bytes: 8}, cmp.Or(f.err, err)
}

func (f *fake) Export(context.Context) (*engine.Document, error) {
	f.asked("export")
	return &f.doc, f.err
}

func (f *fake) Apply(ctx context.Context, d engine.Document, prune, dryRun bool) (*engine.Applied, error) {
	f.asked("apply", fmt.Sprint(len(d.Subscriptions)), fmt.Sprintf("prune=%v", prune), dry(dryRun))
	if f.faults != nil {
		return nil, f.faults
	}
	if f.err != nil {
		return nil, f.err
	}
	out := engine.Applied{Added: []string{}, Changed: []string{"suse"}, Removed: []string{}, Unchanged: []string{"redhat"}, Warnings: []string{}, Task: 9, DryRun: dryRun, Decisions: len(d.Decisions)}
	if dryRun {
		f.dryDecisions = len(d.Decisions)
	}
	for _, s := range d.Subscriptions {
		out.Added = append(out.Added, s.ID)
	}
	if !dryRun {
		f.doc = d
	}
	return &out, nil
}

func (f *fake) Tasks(context.Context) ([]engine.Task, error) {
	f.asked("tasks")
	return f.tasks, f.err
}

func (f *fake) Task(_ context.Context, id uint64) (*engine.Task, error) {
	f.asked("task", fmt.Sprint(id))
	for _, t := range f.tasks {
		if t.ID == id && f.err == nil {
			return &t, nil
		}
	}
	return nil, errors.Join(f.err, missing(fmt.Sprint(id)))
}

func (f *fake) ResyncName(_ context.Context, dn string, dryRun bool) (*engine.Resynced, error) {
	f.asked("resync", dn, dry(dryRun))
	if f.err != nil {
		return nil, f.err
	}
	return &engine.Resynced{DN: dn, Claim: "suse", Audited: dryRun, Same: 3, Missing: []string{"cn=a,o=SuSe"}, Surplus: []string{}, Differ: []string{"cn=b,o=SuSe"},
		Counts: [3]int{1, 0, 1}, Warnings: []string{}, Task: 8, DryRun: dryRun}, nil
}

func (f *fake) RemoveName(_ context.Context, dn string, revision uint64, dryRun bool) (*engine.Removed, error) {
	f.asked("remove name", dn, fmt.Sprint(revision), dry(dryRun))
	if f.err != nil {
		return nil, f.err
	}
	if strings.HasPrefix(dn, "cn=Debian") {
		return &engine.Removed{ID: "dpkg/3", Suppressed: true, Names: []string{dn}, Warnings: []string{}, Task: 10, DryRun: dryRun}, nil
	}
	return &engine.Removed{ID: "suse", Names: []string{dn}, Warnings: []string{}, Task: 10, DryRun: dryRun}, nil
}

func (f *fake) History(_ context.Context, dn string) ([]engine.Happening, error) {
	f.asked("history", dn)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return []engine.Happening{{At: at.Add(time.Minute), Claim: "suse", What: "down", Why: "connect: refused"}, {At: at, Claim: "suse", What: "claimed"}}, f.err
}

func (f *fake) Availability(_ context.Context, source string, from, to time.Time) (*engine.Availability, error) {
	f.asked("availability", source, stamp(from), stamp(to))
	if f.err != nil {
		return nil, f.err
	}
	end := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	if f.unknown {
		return &engine.Availability{Source: source, From: end.Add(-time.Hour), To: end}, nil
	}
	return &engine.Availability{Source: source, From: end.Add(-24 * time.Hour), To: end, Up: 0.9975, Known: 0.5, Outages: 2, Blips: 1,
		DownSeconds: 108, LongestSeconds: 100, Points: []engine.SourcePoint{{At: end.Add(-time.Hour), State: "down", Reason: "connect: refused"}}}, nil
}

func (f *fake) RenameName(_ context.Context, dn, newDN string, claim queue.ClaimID, revision uint64, dryRun bool) (*engine.Renamed, error) {
	f.asked("rename", dn, newDN, string(claim), fmt.Sprint(revision), dry(dryRun))
	if f.err != nil {
		return nil, f.err
	}
	return &engine.Renamed{Claim: "suse", From: dn, To: newDN, Position: 1, Effect: "it waits behind redhat", Warnings: []string{"it clashes"}, Revision: 44, Task: 13, DryRun: dryRun}, nil
}

func (f *fake) decided(claim queue.ClaimID, dn string, dryRun bool) (*engine.Decided, error) {
	if f.err != nil {
		return nil, f.err
	}
	return &engine.Decided{Claim: claim, DN: dn, Queue: []queue.ClaimID{"suse", claim, "c"}, Effect: "suse stays the head", Revision: 43, Task: 12, DryRun: dryRun}, nil
}

func (f *fake) MoveInQueue(_ context.Context, dn string, claim queue.ClaimID, position int, revision uint64, dryRun bool) (*engine.Decided, error) {
	f.asked("move", dn, string(claim), fmt.Sprint(position), fmt.Sprint(revision), dry(dryRun))
	return f.decided(claim, dn, dryRun)
}

func (f *fake) Switch(ctx context.Context, dn string, claim queue.ClaimID, force bool, revision uint64, dryRun bool) (*engine.Switched, error) {
	f.asked("switch", dn, string(claim), fmt.Sprintf("force=%v", force), fmt.Sprint(revision), dry(dryRun))
	f.actor = engine.ActorOf(ctx)
	if f.fetch != nil {
		f.fetch()
	}
	if f.err != nil {
		return nil, f.err
	}
	out := &engine.Switched{DN: dn, Claim: claim, From: "suse", Queue: []queue.ClaimID{claim, "suse"}, Effect: "suse waits at position 1 from now on", Forced: force,
		Warnings: []string{}, Revision: 45, Task: 16, DryRun: dryRun}
	switch {
	case force:
		out.Warnings = append(out.Warnings, "nothing of redhat could be fetched: the name is empty")
	case !dryRun:
		out.Difference = &engine.Difference{DN: dn, Head: "suse", Claim: claim, Added: 1, Changed: 2, Removed: 3, Same: 40}
	}
	return out, nil
}

func (f *fake) QueueDiff(_ context.Context, dn string, claim queue.ClaimID) (*engine.Difference, error) {
	f.asked("diff", dn, string(claim))
	if f.fetch != nil {
		f.fetch()
	}
	if f.err != nil {
		return nil, f.err
	}
	d := f.difference
	d.DN, d.Head, d.Claim, d.Task = dn, "suse", claim, 17
	return &d, nil
}

func (f *fake) SuppressClaim(_ context.Context, id queue.ClaimID, revision uint64, dryRun bool) (*engine.Decided, error) {
	f.asked("suppress", string(id), fmt.Sprint(revision), dry(dryRun))
	return f.decided(id, "cn=SuSe,ou=Package Listers", dryRun)
}

func (f *fake) LiftClaim(_ context.Context, id queue.ClaimID, revision uint64, dryRun bool) (*engine.Decided, error) {
	f.asked("lift", string(id), fmt.Sprint(revision), dry(dryRun))
	return f.decided(id, "cn=SuSe,ou=Package Listers", dryRun)
}

func (f *fake) HeldRefreshes(context.Context) ([]engine.HeldRefresh, error) {
	f.asked("held")
	return f.held, f.err
}

func (f *fake) ApproveHeld(_ context.Context, of string, revision uint64, dryRun bool) (*engine.HoldDecided, error) {
	f.asked("approve", of, fmt.Sprint(revision), dry(dryRun))
	if f.err != nil {
		return nil, f.err
	}
	return &engine.HoldDecided{Of: of, Removed: 59, Added: 1, Effect: "59 entries removed, 1 added, 0 changed", Warnings: []string{}, Task: 18, DryRun: dryRun}, nil
}

func (f *fake) RejectHeld(_ context.Context, of string, revision uint64, dryRun bool) (*engine.HoldDecided, error) {
	f.asked("reject", of, fmt.Sprint(revision), dry(dryRun))
	if f.err != nil {
		return nil, f.err
	}
	return &engine.HoldDecided{Of: of, Removed: 59, Added: 1, Effect: "what is served stays as it is", Warnings: []string{}, Task: 19, DryRun: dryRun}, nil
}

func (f *fake) Alarms(context.Context) ([]engine.Alarm, error) {
	f.asked("alarms")
	return f.alarms, f.err
}

func (f *fake) AckAlarm(_ context.Context, id, note string, until time.Time, dryRun bool) (*engine.AlarmChanged, error) {
	f.asked("ack", id, dry(dryRun))
	f.note, f.until = note, until
	if f.err != nil {
		return nil, f.err
	}
	a := f.alarms[0]
	a.ID, a.Acknowledged, a.Note = id, true, note
	if !until.IsZero() {
		a.Until = &until
	}
	return &engine.AlarmChanged{Alarm: a, Task: 14, DryRun: dryRun}, nil
}

func (f *fake) UnackAlarm(_ context.Context, id string, dryRun bool) (*engine.AlarmChanged, error) {
	f.asked("unack", id, dry(dryRun))
	if f.err != nil {
		return nil, f.err
	}
	return &engine.AlarmChanged{Alarm: f.alarms[0], Task: 15, DryRun: dryRun}, nil
}

// story is a fake with something of everything in it.
func story() *fake {
	const stamp, listers = "2026-01-02T03:04:05Z", ",ou=Package Listers"
	when := func(minute int) time.Time { return time.Date(2026, 1, 2, 3, minute, 0, 0, time.UTC) }
	at := func(minute int) *time.Time { t := when(minute); return &t }
	suse := engine.Link{Claim: "suse", Subscription: "suse", URL: "ldap://ldap.suse.example/o=SuSe,c=DE", Server: "192.0.2.7:389", Online: true,
		State: "live", LastContact: stamp, LastChange: stamp, Entries: 4}
	red := engine.Link{Claim: "redhat", Subscription: "redhat", URL: "ldaps://ldap.redhat.example/o=RedHat,c=US", State: "down",
		Reason: "bind: invalid credentials (49): \x1b[31mgo away\x07"}
	src := upstream.Source{Protocol: "ldap", Host: "ldap.suse.example", Port: 389, Base: "o=SuSe,c=DE", Filter: "(objectClass=*)", Scope: "sub",
		Attributes: []string{"cn", "mail"}, BindDN: "cn=reader", PasswordFile: "/etc/shaft/pw", CAFile: "/etc/shaft/ca.pem", StartTLS: true}
	return &fake{
		doc: engine.Document{Subscriptions: []engine.Subscription{{ID: "suse", Kind: "tree", Name: "cn=SuSe", URL: suse.URL, Source: src}}},
		status: engine.Status{BaseDN: "ou=Package Listers", Names: 2, Entries: 9, Subscriptions: 3, Alarms: map[string]int{"down": 1, "clash": 1},
			ContextCSN: "20260102030405.000000Z#000000#001#000000", Ready: true},
		subs: []engine.Subscription{
			{ID: "redhat", Kind: "tree", Name: "cn=RedHat", URL: red.URL, Source: upstream.Source{Protocol: "ldaps", Host: "ldap.redhat.example", Port: 636, Base: "o=RedHat,c=US", Filter: "(cn=*)", Scope: "one"}, NoDNRewrite: true},
			{ID: "suse", Kind: "tree", Name: "cn=SuSe", URL: suse.URL, Source: src},
			{ID: "dpkg", Kind: "list", Name: "cn=Debian %(attr.distro)s", URL: "ldaps://ldap.debian.example/dc=debian??one?(distro=*)", ContentFilter: "(cn=*)",
				ContentAttributes: []string{"cn", "pkgName"}, Source: upstream.Source{Protocol: "ldaps", Host: "ldap.debian.example", Base: "dc=debian", Filter: "(distro=*)",
					Scope: "one", Servers: []upstream.Server{{Protocol: "ldap", Host: "second.example", Port: 3890}}, SASLExternal: true, CertFile: "/etc/c.pem",
					KeyFile: "/etc/k.pem", Poll: upstream.Interval(5 * time.Minute), NewCookieEnds: true, UUIDFromDN: true}},
		},
		names: []engine.Name{
			{DN: "cn=RedHat" + listers, Head: red, Queue: []engine.Link{}, Alarms: []string{"down"}, Overlaps: []string{}},
			{DN: "cn=SuSe" + listers, Head: suse, LastKnownGood: true, Entries: 4, Revision: 42, Queue: []engine.Link{red}, Alarms: []string{"clash"},
				Overlaps: []string{"cn=\x1b]0;x\x07,cn=SuSe" + listers, "cn=\u202egnp.exe"}},
		},
		tasks: []engine.Task{
			{ID: 12, What: "first load", Target: "suse", Who: "shaft", Began: when(5), State: engine.TaskRunning, Steps: []engine.TaskStep{}, Entries: 12000, Rate: 3456.7},
			{ID: 11, What: "subscription add", Target: "dead", Who: "uid 0 (root) over the control socket", Why: "ticket 7", Began: when(3), Ended: at(4), State: engine.TaskFailed,
				Steps:   []engine.TaskStep{{At: when(3), Name: "resolve", OK: true, Detail: "127.0.0.1"}, {At: when(4), Name: "connect", Detail: "refused \x1b[2J"}},
				Outcome: "the store takes no more writes", Advice: "look at the disk"},
		},
		held: []engine.HeldRefresh{
			{Of: "suse", Subscription: "suse", Name: "cn=SuSe" + listers, Cause: "a refresh that would remove 59 of 60 entries is held", Removed: 59, Total: 60, Before: 3, Added: 1,
				Goes: []string{"cn=a,cn=SuSe" + listers, "cn=\x1b[2Jb,cn=SuSe" + listers}, More: 57, Revision: 77, Server: "192.0.2.7:389", Since: when(1), LastSeen: when(2)},
			{Of: "dpkg", Subscription: "dpkg", List: true, Cause: "a refresh that would remove 2 of 3 found entries", Removed: 2, Total: 3, Content: 40, Changed: 1,
				Goes: []string{"cn=Wheezy,dc=debian: dpkg/1 on cn=Debian Wheezy" + listers + " with 40 entries"}, Revision: 78, Since: when(1), LastSeen: when(2),
				Rejected: true, By: "uid 0 (root) over the control socket", Why: "ticket 9", At: at(3)},
		},
		found: []engine.Found{
			{Entry: "u1", DN: "cn=Wheezy,dc=debian", Names: []engine.FoundName{{Name: "cn=Debian Wheezy" + listers, Claim: "dpkg/1", Outcome: "clashes", Detail: "waits at position 1 behind debian-wheezy"}}},
			{Entry: "u2", DN: "cn=Jessie,dc=debian", Names: []engine.FoundName{{Name: "cn=Debian Jessie" + listers, Claim: "dpkg/2", Outcome: "appears"},
				{Name: "cn=Debian 8" + listers, Claim: "dpkg/3", Outcome: "suppressed", Suppressed: true}}},
			{Entry: "u3", DN: "cn=Sid,dc=debian", Names: []engine.FoundName{{Name: "cn=,ou=x", Outcome: "fails", Detail: "an empty value"}}, Problems: []string{"it has no distro"}},
		},
		alarms: []engine.Alarm{
			{ID: "down-1", Kind: alarm.Down, Severity: alarm.Average, Name: "cn=RedHat" + listers, Subscription: "redhat", Since: when(4),
				Cause: "bind: invalid credentials (49): \x1b[31mgo away", Fingerprint: "f1", Generation: 1},
			{ID: "clash-2", Kind: alarm.Clash, Severity: alarm.Warning, Name: "cn=SuSe" + listers, Subscription: "suse", Since: when(3),
				Cause: "redhat waits behind suse", Fingerprint: "f2", Generation: 2, Acknowledged: true, Note: "ticket 7", AcknowledgedBy: "uid 0 (root)", AcknowledgedAt: at(5), Until: at(50)},
			{ID: "name-error-3", Kind: alarm.NameError, Severity: alarm.Warning, Subscription: "dpkg", Since: when(2), Cause: "1 entry makes no name", Fingerprint: "f3", Generation: 1, Acknowledged: true},
		},
		difference: engine.Difference{Added: 1, Changed: 1, Removed: 1, Same: 40, Entries: []engine.EntryDifference{
			{DN: "cn=a,cn=SuSe" + listers, What: "removed"},
			{DN: "cn=b,cn=SuSe" + listers, What: "changed", Attributes: []engine.AttributeDifference{
				{Name: "cn", Added: []string{"\x1b[2Jb"}}, {Name: "jpegPhoto", Removed: []string{"base64:" + strings.Repeat("A", 200)}, Added: []string{"base64:BB=="}}}},
			{DN: "cn=c,cn=SuSe" + listers, What: "added"},
		}},
		check: engine.Checked{OK: true, Entries: 4, Steps: []upstream.Step{{Name: "resolve", OK: true, Detail: "127.0.0.1"}, {Name: "connect", OK: true, Detail: "127.0.0.1:389", Millis: 12}}},
	}
}

// served puts the API over e on a unix socket.
func served(t *testing.T, e Engine) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "control.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: Handler(e, "1.2.3", slog.New(slog.DiscardHandler))}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return socket
}

// raw sends one request as it stands; path is not escaped any further.
func raw(t *testing.T, socket, method, path, body string) (code int, header http.Header, text string) {
	t.Helper()
	c := http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequest(method, "http://shaft"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(got)
}
