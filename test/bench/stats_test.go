package main

import (
	"math"
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
