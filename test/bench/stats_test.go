package main

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestSpread(t *testing.T) {
	tests := []struct {
		values           []float64
		median, min, max float64
		text             string
	}{
		{[]float64{3}, 3, 3, 3, "3.00"},
		{[]float64{770.25, 770.5, 770.125}, 770.25, 770.125, 770.5, "770"},
		{[]float64{3, 1}, 2, 1, 3, "2.00 (1.00 to 3.00)"},
		{[]float64{9, 1, 5}, 5, 1, 9, "5.00 (1.00 to 9.00)"},
		{[]float64{4, 1, 3, 2}, 2.5, 1, 4, "2.50 (1.00 to 4.00)"},
		{[]float64{1200, 1200, 99}, 1200, 99, 1200, "1,200 (99.0 to 1,200)"},
	}
	for _, test := range tests {
		before := test.values[0]
		got := spreadOf(test.values)
		if got != (spread{test.median, test.min, test.max}) || got.String() != test.text {
			t.Errorf("%v: %+v, %s", test.values, got, got)
		}
		if test.values[0] != before {
			t.Error("the values were sorted in place")
		}
	}
}

func TestQuantile(t *testing.T) {
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64((i*37)%100+1))
	}
	tests := []struct {
		values  []float64
		q, want float64
	}{
		{[]float64{7}, 0.5, 7}, {[]float64{7}, 0.99, 7}, {[]float64{3, 1, 2}, 0.5, 2}, {[]float64{4, 1, 3, 2}, 0.5, 2},
		{hundred, 0.5, 50}, {hundred, 0.99, 99}, {hundred, 1, 100}, {hundred, 0, 1},
	}
	for _, test := range tests {
		if got := quantile(test.values, test.q); got != test.want {
			t.Errorf("%v of %v: %v, want %v", test.q, test.values, got, test.want)
		}
	}
	if hundred[1] != 38 {
		t.Error("the values were sorted in place")
	}
}

// A floor is broken by the ratio of the medians, and by one that cannot be told; a ceiling by our median.
func TestTooLow(t *testing.T) {
	r := result{title: "row", figures: []figure{{"things/s", rate}, {"CPU s", cost}, {"wall s", cost}, {"size", neutral}},
		floors: map[string]float64{"things/s": 2, "CPU s": 2, "wall s": 1}}
	r.samples[ours] = [][]float64{{20, 2, 0, 1}}
	r.samples[theirs] = [][]float64{{10, 3.9, 1, 1}}
	got := r.tooLow()
	if len(got) != 2 || got[0] != "row, CPU s: 1.95 times, at least 2.00 is wanted" || !strings.Contains(got[1], "wall s: 0 times") {
		t.Errorf("%q", got)
	}
	r.floors, r.ceilings = nil, map[string]float64{"CPU s": 1.99, "size": 1}
	if got := r.tooLow(); len(got) != 1 || got[0] != "row, CPU s: 2.00, at most 1.99 is wanted" {
		t.Errorf("%q", got)
	}
	r.ceilings = nil
	if got := r.tooLow(); len(got) > 0 {
		t.Errorf("without floors: %q", got)
	}
}

// Every floor is one of a figure that has a ratio: else it would never hold, or say nothing.
func TestFloors(t *testing.T) {
	names := map[string]bool{}
	for _, r := range rows {
		if names[r.name] {
			t.Errorf("two rows are called %s", r.name)
		}
		names[r.name] = true
		kinds := map[string]figureKind{}
		for _, f := range r.figures {
			kinds[f.name] = f.kind
		}
		for name, floor := range r.floors {
			if kind, ok := kinds[name]; !ok || kind == neutral || floor <= 0 {
				t.Errorf("%s: the floor %v of %q", r.name, floor, name)
			}
		}
		for name, most := range r.ceilings {
			if _, ok := kinds[name]; !ok || most <= 0 {
				t.Errorf("%s: the ceiling %v of %q", r.name, most, name)
			}
		}
		alone := []string{snmpRow.name}
		if len(r.floors)+len(r.ceilings) == 0 && !slices.Contains(alone, r.name) {
			t.Errorf("%s has no floor", r.name)
		}
	}
	checked := wanted(options{only: regexp.MustCompile(""), check: true})
	for _, r := range rows { // those that take minutes are not, nor those that stand alone
		is := slices.ContainsFunc(checked, func(c row) bool { return c.name == r.name })
		if want := !r.long && len(r.floors)+len(r.ceilings) > 0; is != want {
			t.Errorf("%s is checked: %v", r.name, is)
		}
	}
}

func TestNumber(t *testing.T) {
	tests := map[float64]string{
		0: "0", 0.5: "0.50", 9.994: "9.99", 12.34: "12.3", 123.4: "123", 1234: "1,234",
		999_999: "999,999", 1_234_567: "1,234,567", -1234: "-1,234", -123456: "-123,456",
	}
	for v, want := range tests {
		if got := number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestBetter(t *testing.T) {
	tests := []struct {
		kind       figureKind
		a, b, want float64
	}{
		{rate, 10, 5, 2},
		{cost, 10, 5, 0.5},
		{cost, 0, 5, 0},
		{rate, 5, 0, 0},
		{neutral, 10, 5, 0},
	}
	for _, test := range tests {
		if got := better(test.kind, test.a, test.b); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

func TestPrint(t *testing.T) {
	r := result{title: "first things", sides: [2]string{"Shaft", "slapd"}, figures: []figure{{"things/s", rate}, {"CPU s", cost}, {"size", neutral}}}
	r.samples[ours] = [][]float64{{30, 1, 7}, {10, 3, 7}, {20, 2, 7}}
	r.samples[theirs] = [][]float64{{5, 4, 8}, {5, 4, 8}, {5, 4, 8}}
	var text, markdown strings.Builder
	if err := r.print(&text, false); err != nil {
		t.Fatal(err)
	}
	if err := r.print(&markdown, true); err != nil {
		t.Fatal(err)
	}
	want := `
first things
             Shaft                 slapd   Shaft is better by
  things/s   20.0 (10.0 to 30.0)   5.00    4.00 times
  CPU s      2.00 (1.00 to 3.00)   4.00    2.00 times
  size       7.00                  8.00    
`
	if text.String() != want {
		t.Errorf("text:\n%s", text.String())
	}
	want = `
### First things

|  | Shaft | slapd | Shaft is better by |
|---|--:|--:|--:|
| things/s | 20.0 (10.0 to 30.0) | 5.00 | 4.00 times |
| CPU s | 2.00 (1.00 to 3.00) | 4.00 | 2.00 times |
| size | 7.00 | 8.00 |  |
`
	if markdown.String() != want {
		t.Errorf("markdown:\n%s", markdown.String())
	}
}
