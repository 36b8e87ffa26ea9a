package agentx

import (
	"context"
	"fmt"
	"math"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posteo/go-agentx/pdu"
)

// sampleTime is when sample was taken.
func sampleTime() time.Time { return noon }

// sample is a view with rows in all tables.
func sample(t testing.TB) *view {
	s := storyScene()
	w, err := s.Watched(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	w.At = noon
	w.Names[2].Raised[0].Acknowledged = true
	box := newOutbox()
	box.lost.Store(5)
	return viewOf(w, system{version: "1", started: noon.Add(-time.Hour), lost: &box.lost, followers: 2}, map[string]*past{})
}

// place is one cell with its OID.
type place struct {
	at []uint32
	c  cell
}

// all lists every cell of a view by plain enumeration, in the order of OIDs.
func all(v *view, now time.Time) (out []place) {
	for _, t := range v.tables {
		for c, column := range t.columns {
			for row := range t.rows {
				k := t.key(row)
				out = append(out, place{slices.Concat(t.prefix, []uint32{column}, k[:t.width]), t.cell(now, c, row)})
			}
		}
	}
	slices.SortFunc(out, func(a, b place) int { return slices.Compare(a.at, b.at) })
	return out
}

// R51: get and get-next find what a plain enumeration has, from any OID.
func TestViewAgainstEnumeration(t *testing.T) {
	v := sample(t)
	places := all(v, noon)
	if len(places) < 200 {
		t.Fatalf("only %d cells", len(places))
	}
	r := rand.New(rand.NewSource(1))
	probes := [][]uint32{nil, {0}, {1}, {2}, {8}, {9}, {math.MaxUint32}}
	for _, p := range places {
		probes = append(probes, p.at, p.at[:len(p.at)-1], append(slices.Clone(p.at), 0))
		for range 3 {
			q := slices.Clone(p.at)
			i := r.Intn(len(q))
			switch r.Intn(3) {
			case 0:
				q[i]++
			case 1:
				q[i]--
			default:
				q = append(q[:i], r.Uint32()>>r.Intn(32))
			}
			probes = append(probes, q)
		}
	}
	for _, q := range probes {
		want, there := slices.BinarySearchFunc(places, q, func(p place, q []uint32) int { return slices.Compare(p.at, q) })
		if c, _, found := v.get(q, noon); found != there || found && c != places[want].c {
			t.Fatalf("get %v: %v %v, there %v", q, c, found, there)
		}
		for _, include := range []bool{false, true} {
			i := want
			if there && !include {
				i++
			}
			at, c, found := v.next(q, include, noon)
			if found != (i < len(places)) || found && (!slices.Equal(at, places[i].at) || c != places[i].c) {
				t.Fatalf("next of %v (included: %v): %v %v, wanted place %d of %d", q, include, at, c, i, len(places))
			}
		}
	}
}

// R51: a column that is there is told from one that is not.
func TestViewObjects(t *testing.T) {
	v := sample(t)
	for q, want := range map[string]bool{"1 5": true, "1 5 1": true, "1 99 0": false, "3 1 2 99": true, "3 1 1 3": false, "3 1 99 3": false, "3 2 2 3": false, "9 1 2 1": false, "3 1 2": true} {
		var rel []uint32
		for f := range strings.FieldsSeq(q) {
			var n uint32
			fmt.Sscan(f, &n)
			rel = append(rel, n)
		}
		if _, object, found := v.get(rel, noon); found || object != want {
			t.Errorf("%s: object %v found %v, wanted object %v", q, object, found, want)
		}
	}
}

// cellOf gives a cell by its column's name in the MIB.
func cellOf(t *testing.T, v *view, name string, index ...uint32) any {
	t.Helper()
	for _, o := range mib(t) {
		if o.name == name {
			if o.scalar {
				index = []uint32{0}
			}
			c, _, found := v.get(slices.Concat(o.at, index), noon)
			if !found {
				t.Fatalf("%s %v is not there", name, index)
			}
			return c.value
		}
	}
	t.Fatalf("the MIB has no %s", name)
	return nil
}

// R48, R51: what rows say.
func TestViewSays(t *testing.T) {
	v := sample(t)
	for _, test := range []struct {
		name  string
		index []uint32
		want  any
	}{
		{"shaftVersion", nil, "1"},
		{"shaftBaseDN", nil, "o=base"},
		{"shaftUpTime", nil, time.Hour + 5*time.Millisecond},
		{"shaftReady", nil, int32(1)},
		{"shaftNames", nil, uint32(4)},
		{"shaftUpstreams", nil, uint32(2)},
		{"shaftFollowers", nil, uint32(2)},
		{"shaftAlarmsRaised", nil, uint32(3)},
		{"shaftAlarmsUnacknowledged", nil, uint32(2)},
		{"shaftAlarmsLatestSerial", nil, uint32(3)},
		{"shaftNotificationsLost", nil, uint32(5)},
		{"shaftUpstreamLabel", []uint32{7}, "list"},
		{"shaftUpstreamKind", []uint32{7}, int32(2)},
		{"shaftUpstreamContactAge", []uint32{7}, uint32(math.MaxUint32)},
		{"shaftUpstreamLastContact", []uint32{7}, "\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"shaftNameLabel", []uint32{70000}, "cn=name 70000"},
		{"shaftNameState", []uint32{3}, int32(3)},
		{"shaftNameLastContact", []uint32{3}, "\x07\xea\x05\x04\x0c\x00\x00\x00+\x00\x00"},
		{"shaftNameContactAge", []uint32{3}, uint32(0)},
		{"shaftNameQueued", []uint32{4}, uint32(2)},
		{"shaftNameSeverity", []uint32{4}, int32(2)},
		{"shaftNameSeverity", []uint32{9}, int32(1)},
		{"shaftQueueClaim", []uint32{4, 2}, "q1"},
		{"shaftQueueState", []uint32{9, 1}, int32(6)},
		{"shaftClashState", []uint32{4}, int32(2)},
		{"shaftClashText", []uint32{4}, "#1: two wait"},
		{"shaftClashText", []uint32{3}, ""},
		{"shaftClashSerial", []uint32{3}, uint32(0)},
		{"shaftClashQueued", []uint32{4}, uint32(2)},
		{"shaftDownState", []uint32{9}, int32(3)},
		{"shaftDownSeconds", []uint32{9}, uint32(0)},
		{"shaftDownState", []uint32{4}, int32(1)},
		{"shaftNoLkgState", []uint32{4}, int32(1)},
		{"shaftAlarmText", []uint32{7, 7}, "#3: one lacks a name"},
		{"shaftAlarmSubjectKind", []uint32{7, 7}, int32(2)},
		{"shaftAlarmSeverity", []uint32{9, 1}, int32(5)},
		{"shaftAlarmFingerprint", []uint32{9, 3}, "frefused"},
	} {
		if got := cellOf(t, v, test.name, test.index...); got != test.want {
			t.Errorf("%s %v is %#v, wanted %#v", test.name, test.index, got, test.want)
		}
	}
}

// R51: texts are bounded and UTF-8, numbers stop at what fits, ticks are exact.
func TestCells(t *testing.T) {
	long := strings.Repeat("é", maxText)
	if got := text(long).value.(string); len(got) > maxText || !strings.HasSuffix(got, "é...") {
		t.Errorf("%d bytes that end with %q", len(got), got[len(got)-5:])
	}
	if got := text("a\xffb").value; got != "a�b" {
		t.Errorf("%q", got)
	}
	for n, want := range map[int64]uint32{-1: 0, 7: 7, math.MaxUint32: math.MaxUint32, math.MaxInt64: math.MaxUint32} {
		if got := gauge(n).value; got != want {
			t.Errorf("%d is %v", n, got)
		}
	}
	if counter(math.MaxUint32+3).value != uint32(2) {
		t.Error("a counter does not begin anew")
	}
	r := rand.New(rand.NewSource(1))
	for range 10000 {
		want := r.Uint32()
		d := time.Duration(want)*10*time.Millisecond + time.Duration(r.Intn(10))*time.Millisecond
		v := pdu.Variable{}
		v.Set([]uint32{1, 3}, pdu.VariableTypeTimeTicks, ticks(d).value)
		b, err := v.MarshalBinary()
		must(t, err)
		tail := b[len(b)-4:]
		if got := uint32(tail[0]) | uint32(tail[1])<<8 | uint32(tail[2])<<16 | uint32(tail[3])<<24; got != want {
			t.Fatalf("%v is %d ticks, wanted %d", d, got, want)
		}
	}
	if got := ticks(math.MaxUint32*10*time.Millisecond + 20*time.Millisecond).value; got != 15*time.Millisecond {
		t.Errorf("after 497 days %v", got)
	}
}
