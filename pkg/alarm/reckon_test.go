package alarm

import (
	"math/rand"
	"testing"
	"time"
)

func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

func run(from, to int) Run { return Run{at(from), at(to)} }

func wentUp(s int) Point   { return Point{At: at(s), Up: true} }
func wentDown(s int) Point { return Point{At: at(s)} }
func seen(p Point) Point   { p.First = true; return p }

// R53: availability over a period.
func TestReckon(t *testing.T) {
	for what, c := range map[string]struct {
		points   []Point
		runs     []Run
		from, to int
		want     Reckoned
	}{
		"nothing is known":      {nil, []Run{run(0, 1000)}, 0, 1000, Reckoned{}},
		"nobody looked":         {[]Point{wentUp(0)}, nil, 0, 1000, Reckoned{}},
		"up":                    {[]Point{seen(wentUp(10))}, []Run{run(0, 1000)}, 0, 1000, Reckoned{Up: 990 * time.Second}},
		"an outage":             {[]Point{wentUp(0), wentDown(100), wentUp(200)}, []Run{run(0, 1000)}, 0, 1000, Reckoned{900 * time.Second, 100 * time.Second, 1, 0, 100 * time.Second}},
		"a blip":                {[]Point{wentUp(0), wentDown(100), wentUp(129)}, []Run{run(0, 1000)}, 0, 1000, Reckoned{971 * time.Second, 29 * time.Second, 0, 1, 29 * time.Second}},
		"a blip and outages":    {[]Point{wentUp(0), wentDown(100), wentUp(130), wentDown(200), wentUp(300), wentDown(400), wentUp(401)}, []Run{run(0, 1000)}, 0, 1000, Reckoned{869 * time.Second, 131 * time.Second, 2, 1, 100 * time.Second}},
		"still down":            {[]Point{wentUp(0), wentDown(900)}, []Run{run(0, 1000)}, 0, 1000, Reckoned{900 * time.Second, 100 * time.Second, 1, 0, 100 * time.Second}},
		"an edge of a long one": {[]Point{wentUp(0), wentDown(100), wentUp(502)}, []Run{run(0, 1000)}, 500, 600, Reckoned{98 * time.Second, 2 * time.Second, 1, 0, 2 * time.Second}},
		"none in the period":    {[]Point{wentUp(0), wentDown(100), wentUp(200)}, []Run{run(0, 1000)}, 500, 600, Reckoned{Up: 100 * time.Second}},
		"over a stop":           {[]Point{wentUp(0)}, []Run{run(0, 100), run(900, 1000)}, 0, 1000, Reckoned{Up: 200 * time.Second}},
		"down over a stop":      {[]Point{wentUp(0), wentDown(50), wentUp(950)}, []Run{run(0, 100), run(900, 1000)}, 0, 1000, Reckoned{100 * time.Second, 100 * time.Second, 1, 0, 100 * time.Second}},
		"gone while nobody looked": {[]Point{wentUp(0), seen(wentDown(910)), wentUp(960)}, []Run{run(0, 100), run(900, 1000)}, 0, 1000,
			Reckoned{140 * time.Second, 50 * time.Second, 1, 0, 50 * time.Second}},
		"back while nobody looked": {[]Point{wentUp(0), wentDown(50), seen(wentUp(910))}, []Run{run(0, 100), run(900, 1000)}, 0, 1000,
			Reckoned{140 * time.Second, 50 * time.Second, 1, 0, 50 * time.Second}},
		"of a run that is forgotten": {[]Point{wentUp(0), wentDown(50)}, []Run{run(900, 1000)}, 0, 1000, Reckoned{0, 100 * time.Second, 1, 0, 100 * time.Second}},
		"a clock that was an hour ahead": {[]Point{wentUp(0), wentDown(3700), wentUp(200)}, []Run{run(0, 3800), run(150, 1000)}, 0, 1000,
			Reckoned{Up: 1000 * time.Second}},
		"the same twice": {[]Point{wentUp(0), wentUp(5), wentDown(100), wentDown(140), wentUp(200)}, []Run{run(0, 1000)}, 0, 1000, Reckoned{900 * time.Second, 100 * time.Second, 1, 0, 100 * time.Second}},
	} {
		if got := Reckon(c.points, c.runs, at(c.from), at(c.to)); got != c.want {
			t.Errorf("%s: %+v, wanted %+v", what, got, c.want)
		}
	}
}

// R53: the sums are those of a count second by second, whatever happened.
func TestRandomReckon(t *testing.T) {
	for seed := range int64(500) {
		r := rand.New(rand.NewSource(seed))
		var runs []Run
		var points []Point
		state := make([]byte, 1400) // u, d or 0, for each second
		now, known, up := 0, false, false
		for now < 1000 {
			now += r.Intn(60)
			start := now
			first := true
			for range r.Intn(5) {
				next := now + 1 + r.Intn(40)
				to := r.Intn(2) == 0
				if changes := !known || to != up; changes {
					if known && !first {
						fill(state, now, next, up)
					}
					points = append(points, Point{At: at(next), Up: to, First: first})
				} else {
					fill(state, now, next, up)
				}
				known, up, first, now = true, to, false, next
			}
			end := now + r.Intn(40)
			if known {
				fill(state, now, end, up)
			}
			now = end
			runs = append(runs, run(start, end))
		}
		from := r.Intn(500)
		to := from + 1 + r.Intn(500)
		var want Reckoned
		for _, s := range state[from:to] {
			switch s {
			case 'u':
				want.Up += time.Second
			case 'd':
				want.Down += time.Second
			}
		}
		got := Reckon(points, runs, at(from), at(to))
		if got.Up != want.Up || got.Down != want.Down {
			t.Fatalf("seed %d: %+v, counted %+v", seed, got, want)
		}
		if got.Longest > got.Down || (got.Outages+got.Blips == 0) != (got.Down == 0) {
			t.Fatalf("seed %d: %+v", seed, got)
		}
	}
}

func fill(state []byte, from, to int, up bool) {
	for i := from; i < to; i++ {
		state[i] = 'd'
		if up {
			state[i] = 'u'
		}
	}
}

// R53: a run is extended by its beats; a start, a clock set back and a machine that slept begin another.
func TestExtend(t *testing.T) {
	runs := Extend(nil, true, at(0))
	for _, s := range []int{60, 120, 120} {
		runs = Extend(runs, false, at(s))
	}
	if len(runs) != 1 || runs[0] != run(0, 120) {
		t.Fatalf("%+v", runs)
	}
	for what, c := range map[string]struct {
		begins bool
		at     int
		want   int
	}{
		"a beat": {false, 180, 1}, "late": {false, 120 + 300, 1}, "slept": {false, 121 + 300, 2}, "set back": {false, 119, 2}, "a start": {true, 130, 2},
	} {
		got := Extend(runs, c.begins, at(c.at))
		if len(got) != c.want || !got[c.want-1].End.Equal(at(c.at)) || !runs[0].End.Equal(at(120)) {
			t.Errorf("%s: %+v", what, got)
		}
	}
	for i := range 2 * MaxRuns {
		runs = Extend(runs, true, at(1000+i))
	}
	if len(runs) != MaxRuns || !runs[MaxRuns-1].End.Equal(at(999+2*MaxRuns)) {
		t.Errorf("%d runs are kept", len(runs))
	}
}
