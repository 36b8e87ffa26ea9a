// Package metrics tells a Prometheus how Shaft is doing, in its text format: what lists,
// alarms and cn=Monitor tell, how long refreshes and commits take, and the process.
//
//	m := metrics.New(metrics.Options{Version: version, Log: log})
//	st, err := store.Open(dir, store.Options{Committed: m.Committed})
//	m.Watch(metrics.Watched{Engine: e, Store: st, LDAP: door.Figures})
//	http.Handle("/metrics", m)
//
// Nothing is counted that was not counted before: all but durations is gathered when it is
// asked for. It is rendered once for all who ask within a second, or within ten times as long as that
// took, so that no number of scrapers takes more than a tenth of a processor from the
// others. Writer and store are asked and not waited for beyond two seconds: what they told last is told
// again, of the writer with the time of that.
package metrics

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"shaft/pkg/engine"
	"shaft/pkg/ldapd"
	"shaft/pkg/store"
)

// Options beside what is watched.
type Options struct {
	Version string
	Log     *slog.Logger     // nil: none
	Now     func() time.Time // nil: time.Now
}

// Watched is what is told of. What is nil is left out.
type Watched struct {
	Engine interface {
		Figures(context.Context) (*engine.Figures, error)
	}
	Store interface {
		Usage() (store.Usage, error)
	}
	LDAP func() *ldapd.Figures // gives nil before the door is there
}

// Metrics is an http.Handler that answers with all metrics.
type Metrics struct {
	o        Options
	registry *prometheus.Registry
	commits  prometheus.Histogram
	refresh  *prometheus.HistogramVec

	mu      sync.Mutex // of what follows
	watched Watched
	known   found      // the latest
	looking chan found // gives what the look that is under way finds; nil: none is
	page    page
}

// found is what engine and store tell, each nil before it did.
type found struct {
	figures *engine.Figures
	usage   *store.Usage
}

// page is what was rendered last.
type page struct {
	plain  []byte
	zipped []byte // nil: nobody asked for it so
	until  time.Time
}

const (
	// writerWait bounds how long writer and store are waited for; Prometheus gives a scrape 10 seconds.
	writerWait = 2 * time.Second
	// pageAge is how long a page is good, at least.
	pageAge = time.Second
	// pageShare bounds the part of a processor's time that rendering takes: a tenth.
	pageShare = 10
)

// New makes it; until Watch it tells of the process alone.
func New(o Options) *Metrics {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Metrics{
		o: o, registry: prometheus.NewRegistry(),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "shaft_commit_duration_seconds", Help: "How long commits to the store took until they were durable.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		refresh: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "shaft_refresh_duration_seconds", Help: "How long refreshes of a claim's content or of a list's search took, by how they ended: done, held, broken.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 900, 3600},
		}, []string{"outcome"}),
	}
	for _, outcome := range []engine.RefreshOutcome{engine.RefreshDone, engine.RefreshHeld, engine.RefreshBroken} {
		m.refresh.WithLabelValues(string(outcome))
	}
	built := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "shaft_build_info", Help: "What is running; always 1.", ConstLabels: prometheus.Labels{"version": utf8Text(o.Version), "goversion": runtime.Version()},
	})
	built.Set(1)
	m.registry.MustRegister(m.commits, m.refresh, built, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), facts{m})
	return m
}

// Watch says what is to be told of.
func (m *Metrics) Watch(w Watched) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watched = w
}

// Committed is store.Options.Committed.
func (m *Metrics) Committed(took time.Duration) { m.commits.Observe(took.Seconds()) }

// Refreshed is engine.Options.Refreshed.
func (m *Metrics) Refreshed(outcome engine.RefreshOutcome, took time.Duration) {
	m.refresh.WithLabelValues(string(outcome)).Observe(took.Seconds())
}

// ServeHTTP implements http.Handler, for GET and HEAD.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "metrics are read by GET", http.StatusMethodNotAllowed)
		return
	}
	zip := takesGzip(r.Header.Get("Accept-Encoding"))
	text, err := m.text(zip)
	if err != nil {
		m.o.Log.Error("metrics not told", "error", err)
		http.Error(w, "the metrics cannot be told; the log says why", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept-Encoding")
	if zip {
		h.Set("Content-Encoding", "gzip")
	}
	if r.Method == http.MethodGet {
		w.Write(text)
	}
}

// takesGzip reads Accept-Encoding; what is refused by q=0 is not taken.
func takesGzip(accept string) bool {
	for _, part := range strings.Split(accept, ",") {
		coding, q, _ := strings.Cut(part, ";")
		if strings.TrimSpace(coding) == "gzip" {
			return strings.Trim(strings.TrimSpace(q), "0.") != "q="
		}
	}
	return false
}

// text gives the page, which is not to be changed. Whoever asks while it is made waits for it.
func (m *Metrics) text(zip bool) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.o.Now(); !now.Before(m.page.until) || m.page.until.Sub(now) > maxPageAge {
		began := time.Now()
		plain, err := m.render()
		if err != nil {
			return nil, err
		}
		age := min(max(pageAge, pageShare*time.Since(began)), maxPageAge)
		m.page = page{plain: plain, until: m.o.Now().Add(age)}
	}
	if !zip {
		return m.page.plain, nil
	}
	if m.page.zipped == nil {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		if err == nil {
			_, err = z.Write(m.page.plain)
		}
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("compress metrics: %w", err)
		}
		m.page.zipped = b.Bytes()
	}
	return m.page.zipped, nil
}

// maxPageAge is how long a page is good at most, whatever it cost, and whatever the clock does.
const maxPageAge = 30 * time.Second

// render makes the page; with the lock held.
func (m *Metrics) render() ([]byte, error) {
	families, err := m.registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather metrics: %w", err)
	}
	var b bytes.Buffer
	b.Grow(len(m.page.plain) + len(m.page.plain)/8)
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			return nil, fmt.Errorf("metric %s: %w", f.GetName(), err)
		}
	}
	return b.Bytes(), nil
}

// look asks engine and store how things stand, with the lock held. Where a disk hangs they may
// not answer for long: no more than one look is under way, and what they told last is kept.
func (m *Metrics) look() {
	select {
	case late := <-m.looking:
		m.take(late)
	default:
	}
	if m.looking == nil {
		answer, w := make(chan found, 1), m.watched
		go func() { answer <- m.ask(w) }()
		m.looking = answer
	}
	wait := time.NewTimer(writerWait)
	defer wait.Stop()
	select {
	case now := <-m.looking:
		m.take(now)
	case <-wait.C:
		m.o.Log.Warn("metrics tell what was so before: writer or store do not answer")
	}
}

// take notes what a look found.
func (m *Metrics) take(now found) {
	m.looking = nil
	if now.figures != nil {
		m.known.figures = now.figures
	}
	m.known.usage = now.usage
}

// ask is one look. It takes as long as engine and store do.
func (m *Metrics) ask(w Watched) (out found) {
	if w.Engine != nil {
		ctx, cancel := context.WithTimeout(context.Background(), writerWait)
		defer cancel()
		f, err := w.Engine.Figures(ctx)
		if err != nil {
			m.o.Log.Warn("metrics tell what was so before: the writer does not answer", "error", err)
		}
		out.figures = f
	}
	if w.Store != nil {
		u, err := w.Store.Usage()
		if err != nil {
			m.o.Log.Warn("metrics without the store's size", "error", err)
			return out
		}
		out.usage = &u
	}
	return out
}
