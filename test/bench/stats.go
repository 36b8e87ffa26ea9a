package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// spread is what is told of several measurements of one figure.
type spread struct{ median, min, max float64 }

// spreadOf needs at least one value. The median of an even number is the mean of
// the middle two.
func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return spread{median: (v[(n-1)/2] + v[n/2]) / 2, min: v[0], max: v[n-1]}
}

// quantile is the smallest value that at least the share q of all is not above.
func quantile(values []float64, q float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return v[max(0, int(math.Ceil(q*float64(len(v))))-1)]
}

func (s spread) String() string {
	if number(s.min) == number(s.max) {
		return number(s.median)
	}
	return fmt.Sprintf("%s (%s to %s)", number(s.median), number(s.min), number(s.max))
}

// unknown is a figure that a side does not have.
var unknown = math.NaN()

// number prints three digits or more, thousands apart; nothing for unknown.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return ""
	case a == 0:
		return "0"
	case a < 10:
		return fmt.Sprintf("%.2f", v)
	case a < 100:
		return fmt.Sprintf("%.1f", v)
	}
	text := fmt.Sprintf("%.0f", v)
	var b strings.Builder
	for i, c := range text {
		if i > 0 && (len(text)-i)%3 == 0 && text[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// better is how many times better a is than b; 0 when that cannot be said.
func better(kind figureKind, a, b float64) float64 {
	switch {
	case kind == rate && b > 0:
		return a / b
	case kind == cost && a > 0:
		return b / a
	}
	return 0
}
