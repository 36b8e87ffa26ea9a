package test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// alarm is what scripts read of `shaft alarm list -o json`.
type alarm struct {
	ID, Kind, Severity, Name, Subscription, Since, Cause, Fingerprint, Note string
	Acknowledged                                                            bool
}

// alarms lists those of a kind.
func (s *shaft) alarms(kind string) (out []alarm) {
	s.t.Helper()
	var list []alarm
	if err := json.Unmarshal([]byte(s.run("alarm", "list", "-o", "json")), &list); err != nil {
		s.t.Fatal(err)
	}
	for _, a := range list {
		if a.Kind == kind {
			out = append(out, a)
		}
	}
	return out
}

// claims gives a name's queue, head first, with its revision.
func (s *shaft) claims(dn string) (claims []string, revision string) {
	s.t.Helper()
	var q struct {
		Revision json.Number
		Claims   []struct{ Claim string }
	}
	if err := json.Unmarshal([]byte(s.run("queue", "show", dn, "-o", "json")), &q); err != nil {
		s.t.Fatal(err)
	}
	for _, c := range q.Claims {
		claims = append(claims, c.Claim)
	}
	return claims, q.Revision.String()
}

// R48, R49, R50: a clash is an alarm of its cause; to acknowledge it covers that cause,
// over kill -9, and another rival raises it again.
// R27: a rename ends the clash; the head's content goes with it, and keeps its entryUUIDs.
func TestClashAlarm(t *testing.T) {
	first := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	second := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.RedHatSuffix, LDIF: ldaptest.RedHatLDIF})
	s := newShaft(t, "base_dn: "+base)
	both := "cn=Both," + base
	s.run("subscription", "add", "a", "--url", first.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=Both")
	s.live("cn=Both")
	if list := s.run("alarm", "list", "-o", "json"); strings.TrimSpace(list) != "[]" {
		t.Errorf("alarms where nothing is wrong: %s", list)
	}
	s.run("subscription", "add", "b", "--url", second.URL()+"/"+ldaptest.RedHatSuffix, "--name", "cn=Both")

	clash := s.alarms("clash")
	if len(clash) != 1 || clash[0].Name != both || clash[0].Severity != "warning" || clash[0].Acknowledged || clash[0].Fingerprint == "" || !strings.Contains(clash[0].Cause, "b") {
		t.Fatalf("the alarm of a clash: %+v", clash)
	}
	if _, err := time.Parse(time.RFC3339, clash[0].Since); err != nil {
		t.Error(err)
	}
	if out := s.run("status"); !strings.Contains(out, "clash:1") {
		t.Errorf("status does not count it:\n%s", out)
	}
	id := clash[0].ID
	s.run("alarm", "ack", id, "--dry-run")
	if s.alarms("clash")[0].Acknowledged {
		t.Error("a dry run acknowledges")
	}
	s.run("alarm", "ack", id, "--note", "ticket 7", "--until", "2h", "--why", "known")
	s.kill()
	s.start()
	if a := s.alarms("clash"); len(a) != 1 || a[0].ID != id || !a[0].Acknowledged || a[0].Note != "ticket 7" {
		t.Errorf("after kill -9 the acknowledged alarm is %+v", a)
	}
	if out := s.run("task", "list"); !strings.Contains(out, "alarm ack") {
		t.Errorf("the acknowledgement is no task:\n%s", out)
	}
	// A waiting claim's server that is down is no alarm of its own, but a rival.
	s.run("subscription", "add", "c", "--url", "ldap://127.0.0.1:1/o=x", "--name", "cn=Both")
	if a := s.alarms("clash"); len(a) != 1 || a[0].ID != id || a[0].Acknowledged || a[0].Fingerprint == clash[0].Fingerprint {
		t.Errorf("with another rival the alarm is %+v", a)
	}
	if a := s.alarms("down"); len(a) != 0 {
		t.Errorf("a waiting claim raises %+v", a)
	}
	s.run("alarm", "ack", id)
	s.run("alarm", "unack", id)
	if s.alarms("clash")[0].Acknowledged {
		t.Error("the acknowledgement was not taken back")
	}
	s.run("subscription", "remove", "c")

	before := uuids(s.search("-b", both, "entryUUID"))
	if out := s.run("name", "rename", "cn=Both", "cn=Else", "--dry-run", "--claim", "b"); !strings.Contains(out, "would be renamed") {
		t.Errorf("dry run:\n%s", out)
	}
	s.run("name", "rename", "cn=Both", "cn=Alone")
	alone := "cn=Alone," + base
	after := uuids(s.search("-b", alone, "entryUUID"))
	if len(after) != len(before) {
		t.Errorf("%d entries became %d", len(before), len(after))
	}
	for dn, uuid := range before {
		if moved := strings.TrimSuffix(dn, both) + alone; after[moved] != uuid {
			t.Errorf("%s had entryUUID %s, as %s it has %q", dn, uuid, moved, after[moved])
		}
	}
	if a := s.alarms("clash"); len(a) != 0 {
		t.Errorf("the clash is over, and the alarm is %+v", a)
	}
	s.live("cn=Both") // by b, which was next
	if claims, _ := s.claims("cn=Both"); !slices.Equal(claims, []string{"b"}) {
		t.Errorf("the queue that was left: %q", claims)
	}
	s.kill()
	s.start()
	if got := uuids(s.search("-b", alone, "entryUUID")); !maps.Equal(got, after) {
		t.Errorf("after kill -9: %v, it was %v", got, after)
	}
	if _, errs, code := s.try("alarm", "ack", id); code != 1 || errs == "" {
		t.Errorf("an alarm that is over is acknowledged: exit %d %s", code, errs)
	}
}

// R23: what is suppressed of a list is gone until it is lifted, over kill -9 and
// changes of its entry; it comes back with its claim and its entryUUIDs.
func TestSuppress(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: farmSuffix, LDIF: fmt.Sprintf("dn: %s\nobjectClass: organization\no: farm\n\n%s\n%s", farmSuffix, farmEntry(1), farmEntry(2))})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "farm", "--list", "--url", up.URL()+"/"+farmSuffix+"??sub?(objectClass=LinuxDistribution)", "--name", "cn=%(attr.distro)s")
	s.live("cn=D 001")
	s.live("cn=D 002")
	one := "cn=D 001," + base
	claims, revision := s.claims(one)
	before, whole := uuids(s.search("-b", one, "entryUUID")), farmed(s)
	if out := s.run("queue", "suppress", claims[0], "--dry-run"); !strings.Contains(out, "would be suppressed") || !maps.Equal(farmed(s), whole) {
		t.Errorf("dry run:\n%s", out)
	}
	if _, errs, code := s.try("queue", "suppress", claims[0], "--revision", revision+"1"); code != 1 || !maps.Equal(farmed(s), whole) {
		t.Errorf("suppressed by a wrong revision: exit %d %s", code, errs)
	}
	s.run("queue", "suppress", claims[0], "--revision", revision, "--why", "not ours")
	gone := func() bool {
		out, err := s.trySearch("-b", one, "-s", "base")
		return err != nil && strings.Contains(out, "No such object (32)")
	}
	if !gone() || len(farmed(s)) != len(whole)-len(before) {
		t.Errorf("suppressed, and there is %v", farmed(s))
	}
	if out := s.run("subscription", "show", "farm"); !strings.Contains(out, "suppressed: 1") {
		t.Errorf("the list does not say so:\n%s", out)
	}
	s.kill()
	s.start()
	s.live("cn=D 002")
	up.Apply(fmt.Sprintf("dn: cn=d001,%[1]s\nchangetype: modify\nadd: description\ndescription: changed\n\ndn: pkgName=slapd,cn=d002,%[1]s\nchangetype: modify\nreplace: pkgVersion\npkgVersion: new\n", farmSuffix))
	eventually(t, 20*time.Second, "a later change shows", func() bool {
		return strings.Contains(s.search("-b", "cn=D 002,"+base, "(pkgVersion=new)"), "pkgName")
	})
	if !gone() {
		t.Error("a change of its entry lifts the suppression")
	}
	s.run("queue", "lift", claims[0])
	s.live("cn=D 001")
	if again, _ := s.claims(one); !slices.Equal(again, claims) {
		t.Errorf("the claim %q came back as %q", claims, again)
	}
	eventually(t, 20*time.Second, "its content is back", func() bool { return maps.Equal(uuids(s.search("-b", one, "entryUUID")), before) })
	if _, errs, code := s.try("queue", "lift", claims[0]); code != 1 || !strings.Contains(errs, "not suppressed") {
		t.Errorf("lifted twice: exit %d %s", code, errs)
	}
}

// R27, R56: operators reorder what waits; the second of two who looked at the same queue is
// told what changed, by the command line and by the API, and nothing has changed.
func TestTwoOperators(t *testing.T) {
	s := newShaft(t, "base_dn: "+base)
	for _, id := range []string{"a", "b", "c"} {
		s.run("subscription", "add", id, "--url", "ldap://127.0.0.1:1/o="+id, "--name", "cn=X")
	}
	_, seen := s.claims("cn=X")
	s.run("queue", "move", "cn=X", "c", "1", "--revision", seen)
	claims, now := s.claims("cn=X")
	if !slices.Equal(claims, []string{"a", "c", "b"}) || now == seen {
		t.Errorf("moved: %q at revision %s, it was %s", claims, now, seen)
	}
	for _, args := range [][]string{{"queue", "move", "cn=X", "b", "1"}, {"name", "rename", "cn=X", "cn=Y"}, {"name", "remove", "cn=X"}} {
		if _, errs, code := s.try(append(args, "--revision", seen)...); code != 1 || !strings.Contains(errs, "c, b") {
			t.Errorf("%q of the second operator: exit %d %s", args, code, errs)
		}
	}
	client := http.Client{Timeout: limit, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.path("data/control.sock"))
	}}}
	post := func(match string) (int, string) {
		req, err := http.NewRequest("POST", "http://shaft/api/v1/queues/cn=X/move", strings.NewReader(`{"claim":"b","position":1}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-Match", match)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("Content-Type")
	}
	if code, kind := post(`"` + seen + `"`); code != http.StatusPreconditionFailed || kind != "application/problem+json" {
		t.Errorf("If-Match of the past: %d %s", code, kind)
	}
	if still, _ := s.claims("cn=X"); !slices.Equal(still, claims) {
		t.Errorf("a refused command changed the queue: %q", still)
	}
	resp, err := client.Get("http://shaft/api/v1/queues/cn=X")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if code, _ := post(resp.Header.Get("ETag")); code != http.StatusOK {
		t.Errorf("If-Match of the ETag: %d", code)
	}
	s.kill()
	s.start()
	if claims, revision := s.claims("cn=X"); !slices.Equal(claims, []string{"a", "b", "c"}) || revision != seen {
		t.Errorf("after kill -9: %q at revision %s", claims, revision)
	}
	for _, c := range []struct{ args, want string }{
		{"queue move cn=X a 1", "switch"}, {"queue move cn=X b 9", "position"}, {"queue move cn=X nobody 1", "nobody"}, {"queue suppress a", "tree"},
		{"name rename cn=X cn=X", "already"}, {"name rename cn=X cn=below,cn=X", "below"}, {"name rename cn=X cn=x,dc=example", "base"},
		{"name rename cn=X cn=Y --claim nobody", "nobody"}, {"name rename cn=nothing cn=Y", "nothing"}, {"alarm ack nothing", "nothing"},
	} {
		if _, errs, code := s.try(strings.Fields(c.args)...); code != 1 || !strings.Contains(errs, c.want) {
			t.Errorf("shaft %s: exit %d, want %q in\n%s", c.args, code, c.want, errs)
		}
	}
}

// R53: a source's outage is in its name's history, and in how often it was there.
func TestAvailability(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "a", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=A")
	s.live("cn=A")
	up.Stop()
	eventually(t, 20*time.Second, "the source is seen down", func() bool { return len(s.alarms("down")) == 1 })
	up.Start()
	eventually(t, 60*time.Second, "the source is back", func() bool { return len(s.alarms("down")) == 0 })
	var h struct {
		Happenings   []struct{ What string }
		Availability struct {
			Source         string
			Up, Known      float64
			Outages, Blips int
			DownSeconds    float64 `json:"down_seconds"`
		}
	}
	if err := json.Unmarshal([]byte(s.run("name", "history", "cn=A", "-o", "json")), &h); err != nil {
		t.Fatal(err)
	}
	if a := h.Availability; a.Source != "a" || a.Outages+a.Blips != 1 || a.DownSeconds <= 0 || a.Up <= 0 || a.Up >= 1 || a.Known <= 0 || a.Known > 1 {
		t.Errorf("availability: %+v", a)
	}
	if !slices.ContainsFunc(h.Happenings, func(h struct{ What string }) bool { return h.What == "down" }) {
		t.Errorf("happenings: %+v", h.Happenings)
	}
	if out := s.run("name", "history", "cn=A", "--from", "1h", "--to", "30m"); strings.Contains(out, "claimed") {
		t.Errorf("an hour ago:\n%s", out)
	}
}
