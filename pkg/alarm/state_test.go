package alarm

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// scene plays facts about one name against a state.
type scene struct {
	t    *testing.T
	s    *State
	now  time.Time
	name Name
}

// see brings the state up to the facts at a time after noon, and tells what changed.
func (sc *scene) see(after time.Duration, change func(*Name)) string {
	sc.now = noon.Add(after)
	change(&sc.name)
	ch, _ := sc.s.Next(Compute(Input{Names: []Name{sc.name}}), sc.now)
	var said []string
	for what, list := range map[string][]*Alarm{"+": ch.Raised, "~": ch.Changed, "=": ch.Reworded, "-": ch.Cleared} {
		for _, a := range list {
			said = append(said, fmt.Sprintf("%s%s %d", what, a.Kind, a.Generation))
		}
	}
	slices.Sort(said)
	if len(ch.Acks) > 0 {
		said = append(said, fmt.Sprintf("%d acks ended", len(ch.Acks)))
	}
	if ch.Any() != (len(said) > 0) {
		sc.t.Errorf("Any tells %v of %q", ch.Any(), said)
	}
	return strings.Join(said, " ")
}

// ack acknowledges the name's one alarm.
func (sc *scene) ack(note string, until time.Duration) {
	sc.t.Helper()
	view := sc.s.View()
	if len(view) != 1 || view[0].Acknowledged {
		sc.t.Fatalf("to be acknowledged: %+v", view)
	}
	a := &Ack{ID: view[0].ID, Fingerprint: view[0].Fingerprint, Note: note, Who: "anna", When: sc.now}
	if until > 0 {
		a.Until = noon.Add(until)
	}
	sc.s.SetAck(a.ID, a)
}

func (sc *scene) want(got, want, acked string) {
	sc.t.Helper()
	notes := ""
	for _, a := range sc.s.View() {
		if a.Acknowledged {
			notes += a.Note + " by " + a.AcknowledgedBy
		}
	}
	if got != want || notes != acked {
		sc.t.Errorf("%s: %q and acknowledged %q, wanted %q and %q", sc.now.Format("15:04:05"), got, notes, want, acked)
	}
}

func nothing(*Name)                    { /* time passes */ }
func is(l Link) func(*Name)            { return func(n *Name) { n.Head = l } }
func claims(ids ...string) func(*Name) { return func(n *Name) { n.Claims = ids } }
func newScene(t *testing.T, change func(*Name)) *scene {
	return &scene{t: t, s: NewState(), name: suse(change)}
}

// R50: the story of a clash that is acknowledged, and of rivals that come and go.
func TestAckCoversOneCause(t *testing.T) {
	sc := newScene(t, nothing)
	sc.want(sc.see(0, nothing), "", "")
	sc.want(sc.see(time.Second, claims("suse", "dpkg/1")), "+clash 1", "")
	sc.ack("we know", 0)
	sc.want(sc.see(2*time.Second, nothing), "", "we know by anna")
	sc.want(sc.see(3*time.Second, claims("dpkg/1", "suse")), "=clash 1", "we know by anna") // an operator's switch
	sc.want(sc.see(4*time.Second, claims("dpkg/1", "suse", "rpm")), "~clash 2 1 acks ended", "")
	sc.ack("rpm too", 0)
	sc.want(sc.see(5*time.Second, claims("dpkg/1", "suse")), "~clash 3 1 acks ended", "") // the first again: nobody said it is still known
	sc.ack("again", 0)
	sc.want(sc.see(6*time.Second, claims("suse")), "-clash 3 1 acks ended", "")
	sc.want(sc.see(7*time.Second, claims("suse", "dpkg/1")), "+clash 1", "")
	if a := sc.s.View()[0]; !a.Since.Equal(noon.Add(7*time.Second)) || a.Acknowledged || a.Until != nil || a.AcknowledgedAt != nil {
		t.Errorf("%+v", a)
	}
}

// R50: an expiry ends an acknowledgement, and until then the same cause is covered, should it come back.
func TestAckExpires(t *testing.T) {
	sc := newScene(t, claims("suse", "dpkg/1"))
	sc.want(sc.see(0, nothing), "+clash 1", "")
	sc.ack("until one", time.Hour)
	sc.want(sc.see(time.Minute, claims("suse")), "-clash 1", "")
	sc.want(sc.see(2*time.Minute, claims("suse", "dpkg/1")), "+clash 1", "until one by anna")
	if a := sc.s.View()[0]; !a.Until.Equal(noon.Add(time.Hour)) || !a.AcknowledgedAt.Equal(noon) {
		t.Errorf("%+v", a)
	}
	_, wake := sc.s.Next(Compute(Input{Names: []Name{sc.name}}), sc.now)
	if !wake.Equal(noon.Add(time.Hour)) {
		t.Errorf("to be looked at again at %s", wake)
	}
	sc.want(sc.see(time.Hour-1, nothing), "", "until one by anna")
	sc.want(sc.see(time.Hour, nothing), "1 acks ended", "")
	sc.ack("again", 2*time.Hour)
	sc.want(sc.see(time.Hour+1, claims("suse")), "-clash 1", "")
	sc.want(sc.see(time.Hour+2, claims("suse", "rpm")), "+clash 1 1 acks ended", "") // it came back as another
}

// R48: a blip raises nothing, an outage does, from when it began; what its reason says in other words is no other cause.
func TestDownLasts(t *testing.T) {
	sc := newScene(t, is(refused))
	sc.want(sc.see(0, nothing), "", "")
	if _, wake := sc.s.Next(Compute(Input{Names: []Name{sc.name}}), noon.Add(time.Second)); !wake.Equal(noon.Add(DownDelay)) {
		t.Errorf("to be looked at again at %s", wake)
	}
	sc.want(sc.see(4*time.Second, nothing), "", "")
	sc.want(sc.see(DownDelay-1, is(up)), "", "")
	sc.want(sc.see(6*time.Second, is(refused)), "", "")
	sc.want(sc.see(6*time.Second+DownDelay-1, is(Link{Reason: "connection lost: closed by the server"})), "", "")
	sc.want(sc.see(6*time.Second+DownDelay, nothing), "+down 1", "")
	if a := sc.s.View()[0]; !a.Since.Equal(noon.Add(6 * time.Second)) {
		t.Errorf("since %s", a.Since)
	}
	sc.ack("rebooted", 0)
	sc.want(sc.see(20*time.Second, is(refused)), "=down 1", "rebooted by anna")
	sc.want(sc.see(30*time.Second, is(Link{Reason: "bind: invalid credentials (49)"})), "~down 2 1 acks ended", "")
	sc.want(sc.see(40*time.Second, is(up)), "-down 2", "")
}

// A clock that goes back keeps nothing from being raised.
func TestClockGoesBack(t *testing.T) {
	sc := newScene(t, is(refused))
	sc.want(sc.see(time.Hour, nothing), "", "")
	sc.want(sc.see(0, nothing), "", "")
	sc.want(sc.see(DownDelay, nothing), "+down 1", "")
}

// R30: a head without content is an alarm when its first attempt fails or time passes; while the
// next attempt runs the cause is what the last one said.
func TestNoContent(t *testing.T) {
	sc := newScene(t, func(n *Name) { n.Good = false })
	sc.want(sc.see(0, nothing), "", "")
	sc.want(sc.see(ContentDelay-1, nothing), "", "")
	sc.want(sc.see(ContentDelay, nothing), "+no-lkg 1", "")
	sc.ack("slow", 0)
	sc.want(sc.see(40*time.Second, is(refused)), "~no-lkg 2 1 acks ended", "")
	sc.ack("away", 0)
	sc.want(sc.see(41*time.Second, is(up)), "", "away by anna")
	sc.want(sc.see(42*time.Second, is(Link{Reason: `search: the base DN "o=x" is not there: no such object (32)`})), "~no-lkg 3 1 acks ended", "")
	sc.want(sc.see(43*time.Second, is(up)), "", "")
	sc.want(sc.see(44*time.Second, claims("other")), "~no-lkg 4", "") // promoted, and without content too
	sc.want(sc.see(45*time.Second, func(n *Name) { n.Good = true }), "-no-lkg 4", "")

	sc = newScene(t, func(n *Name) { n.Good, n.Head = false, refused })
	sc.want(sc.see(0, nothing), "+no-lkg 1", "")
}

// The view is in order of gravity, then by name, and its alarms are not the state's own.
func TestView(t *testing.T) {
	s := NewState()
	in := Input{
		Names: []Name{
			suse(func(n *Name) { n.DN, n.Norm, n.Claims = "cn=b", "cn=b", []string{"b", "c"} }),
			suse(func(n *Name) { n.DN, n.Norm, n.Claims, n.Inner = "cn=a", "cn=a", []string{"a", "c"}, []string{"x"} }),
			suse(func(n *Name) { n.Good, n.Head = false, refused }),
		},
		Lists: []List{{ID: "l", Link: refused, Problems: []Problem{{"cn=x", "y"}}}}, Delays: Delays{Down: -1},
	}
	s.Next(Compute(in), noon)
	var got []string
	for _, a := range s.View() {
		got = append(got, fmt.Sprint(a.Kind, a.Name, a.Severity))
	}
	want := []string{"no-lkgcn=SuSe,ou=xdisaster", "downaverage", "downcn=SuSe,ou=xaverage", "clashcn=awarning", "clashcn=bwarning", "overlapcn=awarning", "name-errorwarning"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	s.View()[0].Note = "changed"
	if s.View()[0].Note != "" {
		t.Error("the view is the state's own")
	}
}

// R50: whatever happens, an acknowledged alarm has the cause that was acknowledged, and not past its time;
// what is raised is what lasted, and since and generation only ever grow.
func TestRandomAcks(t *testing.T) {
	reasons := []Link{up, refused, {Reason: "bind: invalid credentials (49)"}, {Reason: "connection lost: closed by the server"}, noSync, {}}
	for seed := range int64(300) {
		r := rand.New(rand.NewSource(seed))
		s, now := NewState(), noon
		names := []Name{suse(nothing), suse(func(n *Name) { n.Norm, n.DN, n.Good = "cn=b", "cn=b", false })}
		acked := map[string]string{} // by id: the cause in the words of an operator
		for range 60 {
			now = now.Add(time.Duration(r.Intn(8000)-500) * time.Millisecond)
			n := &names[r.Intn(2)]
			switch r.Intn(4) {
			case 0:
				n.Head = reasons[r.Intn(len(reasons))]
			case 1:
				n.Claims = []string{"suse", "a", "b", "c"}[:1+r.Intn(4)]
			case 2:
				n.Good = n.Good || r.Intn(4) == 0
			case 3:
				if view := s.View(); len(view) > 0 {
					a := view[r.Intn(len(view))]
					ack := &Ack{ID: a.ID, Fingerprint: a.Fingerprint, When: now}
					if r.Intn(2) == 0 {
						ack.Until = now.Add(time.Duration(1+r.Intn(20)) * time.Second)
					}
					s.SetAck(a.ID, ack)
					acked[a.ID] = a.Fingerprint
				}
			}
			computed := Compute(Input{Names: names})
			before := map[string]Alarm{}
			for _, a := range s.View() {
				before[a.ID] = a
			}
			_, wake := s.Next(computed, now)
			if !wake.IsZero() && !wake.After(now) {
				t.Fatalf("seed %d: to be looked at again at once", seed)
			}
			there := map[string]string{}
			for _, c := range computed {
				there[c.ID] = c.Fingerprint
			}
			for _, a := range s.View() {
				f, ok := there[a.ID]
				if !ok || !strings.HasPrefix(a.Fingerprint, f) {
					t.Fatalf("seed %d: %+v is not what was computed", seed, a)
				}
				if a.Acknowledged && (acked[a.ID] != a.Fingerprint || a.Until != nil && !now.Before(*a.Until)) {
					t.Fatalf("seed %d: %+v is acknowledged, and was not", seed, a)
				}
				was, known := before[a.ID]
				if known && (!a.Since.Equal(was.Since) || (a.Generation != was.Generation) != (a.Fingerprint != was.Fingerprint) || a.Generation < was.Generation) {
					t.Fatalf("seed %d: %+v was %+v", seed, a, was)
				}
				if known && was.Acknowledged && a.Acknowledged && was.Fingerprint != a.Fingerprint {
					t.Fatalf("seed %d: an acknowledgement hides another cause: %+v was %+v", seed, a, was)
				}
			}
		}
	}
}

// R50, R51: each change of a cause has a serial and a text of its own, other words for the same cause do not.
func TestSerials(t *testing.T) {
	sc := newScene(t, nothing)
	var last Alarm
	for i, step := range []struct {
		change func(*Name)
		serial uint32
		text   string
	}{
		{claims("suse", "dpkg/1"), 1, "#1: suse is shown, 1 claim waits: dpkg/1"},
		{nothing, 1, "#1: suse is shown, 1 claim waits: dpkg/1"},
		{claims("dpkg/1", "suse"), 1, "#1: suse is shown, 1 claim waits: dpkg/1"}, // a switch: the same rivals
		{claims("dpkg/1", "suse", "rpm"), 2, "#2: dpkg/1 is shown, 2 claims wait: suse, rpm"},
		{claims("dpkg/1", "suse"), 3, "#3: dpkg/1 is shown, 1 claim waits: suse"}, // what it once was
	} {
		sc.see(time.Duration(i)*time.Second, step.change)
		last = sc.s.View()[0]
		if last.Serial != step.serial || last.Text != step.text || sc.s.Serial != step.serial {
			t.Errorf("step %d: serial %d of %d, text %q", i, last.Serial, sc.s.Serial, last.Text)
		}
	}
	sc.see(time.Minute, claims("suse"))
	if sc.see(2*time.Minute, claims("suse", "dpkg/1")); sc.s.View()[0].Serial != 4 {
		t.Errorf("raised again as %+v", sc.s.View()[0])
	}
	two := []Candidate{{ID: "down-b", Kind: Down, Name: "b"}, {ID: "down-a", Kind: Down, Name: "a"}, {ID: "no-lkg-b", Kind: NoLKG, Name: "b"}}
	s := NewState()
	ch, _ := s.Next(two, noon)
	for i, a := range ch.Raised {
		if a.Serial != uint32(i+1) {
			t.Errorf("%s is number %d, at place %d of what was raised", a.ID, a.Serial, i)
		}
	}
}
