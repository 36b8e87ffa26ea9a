package main

import (
	"bytes"
	"fmt"
	"math"
	"strings"
)

// grown is one figure of the row grow, with one number of entries: the sum, not the
// share of an entry.
type grown struct {
	figure  string
	entries int
	sides   [2]float64 // medians; NaN: unknown
}

// panel is one drawing of several.
type panel struct {
	figure, title string  // the title is short: three stand beside each other
	scale         float64 // from the figure, an entry's times their number, to what is drawn
	each          bool    // the figure is an entry's
}

var panels = []panel{
	{growStart, "start to first answer, s", 1, false},
	{growCPU, "CPU time of that, s", 1, false},
	{growResident, "RSS, MiB", 1.0 / (1 << 20), true},
	{growAnonymous, "RSS without files, MiB", 1.0 / (1 << 20), true},
	{growDisk, "disk, MiB", 1.0 / (1 << 20), true},
	{growPeak, "peak RSS in the first refresh, MiB", 1.0 / (1 << 20), true},
	{growBeyond, "beside the entries, MiB", 1.0 / (1 << 20), true},
	{growLongest, "longest stop of a collection, ms", 1, false},
	{growDump, "everything in one search, s", 1, false},
}

// growth gives the drawn figures of a growRow; none of another.
func (r *result) growth(entries int) (out []grown) {
	if r.row != growRow.name {
		return nil
	}
	for _, p := range panels {
		for i, f := range r.figures {
			if f.name != p.figure {
				continue
			}
			sides, _ := r.compare(i)
			g := grown{figure: f.name, entries: entries}
			for s := range sides {
				g.sides[s] = sides[s].median * p.scale
				if p.each {
					g.sides[s] *= float64(entries)
				}
			}
			out = append(out, g)
		}
	}
	return out
}

// Sizes of the drawing, in its own units.
const (
	panelWidth, panelHeight = 300, 220
	plotLeft, plotTop       = 48, 34
	plotWidth, plotHeight   = 236, 150
	panelColumns            = 3
)

// estimateAt is how far lines go beyond what was measured.
const estimateAt = 10

var sideColors = [2]string{ours: "#0b62a4", theirs: "#b5541c"}

// drawGrowth draws a panel for each figure, both axes logarithmic. A dashed line goes on from
// the last two sizes in a straight line to ten times the largest.
func drawGrowth(all []grown) []byte {
	var b bytes.Buffer
	rows := (len(panels) + panelColumns - 1) / panelColumns
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n",
		panelColumns*panelWidth, rows*panelHeight+24)
	fmt.Fprintln(&b, `<rect width="100%" height="100%" fill="#fff"/>`)
	for i, p := range panels {
		var points []grown
		for _, g := range all {
			if g.figure == p.figure {
				points = append(points, g)
			}
		}
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", i%panelColumns*panelWidth, i/panelColumns*panelHeight)
		drawPanel(&b, p.title, points)
		fmt.Fprintln(&b, "</g>")
	}
	for s, name := range growRow.names() {
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", plotLeft+s*60, rows*panelHeight+14, sideColors[s], name)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" fill="#666">by the number of entries; dashed: estimated; stops: beside a program that only holds as much</text>`+"\n</svg>\n", plotLeft+120, rows*panelHeight+14)
	return b.Bytes()
}

// nearly is how far beyond a decade a value may be drawn without another one.
const nearly = 0.05

// axis is a logarithmic one of whole decades.
type axis struct{ from, to float64 } // powers of ten

func axisOf(values []float64) axis {
	a := axis{math.Inf(1), math.Inf(-1)}
	for _, v := range values {
		if v > 0 && !math.IsInf(v, 0) {
			a.from, a.to = min(a.from, math.Floor(math.Log10(v)+nearly)), max(a.to, math.Ceil(math.Log10(v)-nearly))
		}
	}
	if a.from > a.to {
		a.from, a.to = 0, 1
	}
	a.to = max(a.to, a.from+1)
	return a
}

// at is where v lies, from 0 to 1.
func (a axis) at(v float64) float64 { return (math.Log10(v) - a.from) / (a.to - a.from) }

func drawPanel(b *bytes.Buffer, title string, points []grown) {
	fmt.Fprintf(b, `<text x="%d" y="20" font-size="12">%s</text>`+"\n", plotLeft, title)
	var xs, ys []float64
	for s := range sideColors {
		for _, p := range extended(points, s) {
			xs, ys = append(xs, p[0]), append(ys, p[1])
		}
	}
	x, y := axisOf(xs), axisOf(ys)
	drawGrid(b, x, y)
	for s, color := range sideColors {
		line := extended(points, s)
		var places []string
		for i, p := range line {
			cx, cy := plotLeft+x.at(p[0])*plotWidth, plotTop+(1-y.at(p[1]))*plotHeight
			places = append(places, fmt.Sprintf("%.1f,%.1f", cx, cy))
			if i < len(line)-1 || len(line) == 1 {
				fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", cx, cy, color)
			}
		}
		if n := len(places); n > 2 {
			fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.Join(places[:n-1], " "), color)
			fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5" stroke-dasharray="4 3"/>`+"\n", strings.Join(places[n-2:], " "), color)
		}
	}
}

func drawGrid(b *bytes.Buffer, x, y axis) {
	for e := x.from; e <= x.to; e++ {
		at := plotLeft + x.at(math.Pow(10, e))*plotWidth
		fmt.Fprintf(b, `<path d="M%.1f %dv%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle" fill="#666">%s</text>`+"\n",
			at, plotTop, plotHeight, at, plotTop+plotHeight+14, decade(e))
	}
	for e := y.from; e <= y.to; e++ {
		at := plotTop + (1-y.at(math.Pow(10, e)))*plotHeight
		fmt.Fprintf(b, `<path d="M%d %.1fh%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#666">%s</text>`+"\n",
			plotLeft, at, plotWidth, plotLeft-4, at+4, decade(e))
	}
}

// decade prints a power of ten.
func decade(e float64) string {
	switch {
	case e >= 6:
		return fmt.Sprintf("%.0f M", math.Pow(10, e-6))
	case e >= 3:
		return fmt.Sprintf("%.0f k", math.Pow(10, e-3))
	}
	return fmt.Sprintf("%g", math.Pow(10, e))
}

// extended gives a side's points, and behind two or more of them an estimate as the last one.
func extended(points []grown, s int) (out [][2]float64) {
	for _, p := range points {
		if v := p.sides[s]; v > 0 {
			out = append(out, [2]float64{float64(p.entries), v})
		}
	}
	n := len(out)
	if n < 2 {
		return out
	}
	last, before := out[n-1], out[n-2]
	at := last[0] * estimateAt
	return append(out, [2]float64{at, straightOn(before, last, at)})
}

// straightOn goes on in a straight line, but never down.
func straightOn(a, b [2]float64, at float64) float64 {
	if b[0] <= a[0] || b[1] <= a[1] {
		return b[1]
	}
	return b[1] + (b[1]-a[1])/(b[0]-a[0])*(at-b[0])
}
