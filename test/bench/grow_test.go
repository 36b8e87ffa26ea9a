package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is measured of a small server on both sides is drawn, and an estimate behind it.
func TestGrow(t *testing.T) {
	var all []grown
	for _, entries := range []int{60, 600} {
		o := options{rounds: 1, entries: entries, seed: 1, pad: 100}
		results, err := runRowsOf(t, o, growRow)
		if err != nil {
			t.Fatal(err)
		}
		for s, rounds := range results.samples {
			for i, v := range rounds[0] {
				if known := !math.IsNaN(v); known && v < 0 && growRow.figures[i].kind != neutral || !known && side(s) == ours {
					t.Errorf("%v: %s is %v", side(s), growRow.figures[i].name, v)
				}
			}
		}
		all = append(all, results.growth(o.content().total())...)
	}
	if len(all) != 2*len(panels) {
		t.Fatalf("%d figures are drawn, want %d", len(all), 2*len(panels))
	}
	svg := drawGrowth(all)
	if n := bytes.Count(svg, []byte("stroke-dasharray")); n < len(panels) {
		t.Errorf("%d estimates in\n%s", n, svg)
	}
	if strings.Contains(string(svg), "NaN") || strings.Contains(string(svg), "Inf") {
		t.Errorf("no numbers in\n%s", svg)
	}
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if other := (&result{row: "refresh"}).growth(5); other != nil {
		t.Errorf("of another row %v is drawn", other)
	}
}

// What the kernel is to forget is all there afterwards; what is not there cannot be forgotten.
func TestForgetFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "file")
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, bytes.Repeat([]byte("page"), 4096), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := forgetFiles(dir); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, bytes.Repeat([]byte("page"), 4096)) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if err := forgetFiles(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

func runRowsOf(t *testing.T, o options, r row) (*result, error) {
	b, err := newBench(t.Context(), o)
	if err != nil {
		return nil, err
	}
	defer b.close()
	return b.measure(t.Context(), r)
}

func TestEstimate(t *testing.T) {
	points := []grown{{"x", 10, [2]float64{1, math.NaN()}}, {"x", 100, [2]float64{10, 5}}, {"x", 200, [2]float64{15, math.NaN()}}}
	if line := extended(points, 0); len(line) != 4 || line[3] != [2]float64{2000, 105} {
		t.Errorf("%v", line)
	}
	if line := extended(points, 1); len(line) != 1 {
		t.Errorf("one point goes on: %v", line)
	}
	if got := straightOn([2]float64{10, 5}, [2]float64{20, 4}, 200); got != 4 {
		t.Errorf("what fell goes on to %v, want 4", got)
	}
	if a := axisOf([]float64{0.02, 300, 0, math.Inf(1)}); a != (axis{-2, 3}) || a.at(1) != 0.4 {
		t.Errorf("%v", a)
	}
	if a := axisOf(nil); a.from >= a.to {
		t.Errorf("an axis of nothing is %v", a)
	}
}

func TestSizes(t *testing.T) {
	o, err := parseOptions([]string{"-entries", "100,2000", "-pad", "7"})
	if err != nil || len(o.sizes) != 2 || o.entries != 100 || o.content().pad != 7 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, list := range []string{"", "0", "10,", "x"} {
		if _, err := parseOptions([]string{"-entries", list}); err == nil {
			t.Errorf("-entries %q is taken", list)
		}
	}
	a, b := content{seed: 1, people: 3, pad: 50}, content{seed: 1, people: 3, pad: 50}
	x, y := a.attributes(2), b.attributes(2)
	if last := x[len(x)-1]; last != y[len(y)-1] || len(last.value) != 50 || len(x) != len(content{seed: 1, people: 3}.attributes(2))+1 {
		t.Errorf("%+v, %+v", last, y[len(y)-1])
	}
}
