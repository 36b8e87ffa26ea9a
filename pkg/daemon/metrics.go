package daemon

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"shaft/pkg/ldapd"
)

// Bounds of the door for metrics, whose clients are few and say little. A scraper that is slow,
// or many of them, hold up each other and nothing else.
const (
	// maxScrapers may be connected at once; others wait in the kernel's queue.
	maxScrapers = 64
	// scrapeRequest is how long a request may take to arrive, and how long a connection may be idle.
	scrapeRequest = 5 * time.Second
	// scrapeWrite is how long an answer may take: a slow line and the ten megabytes of 10,000 names.
	scrapeWrite = 30 * time.Second
	// maxScrapeHeader is enough for every scraper, in bytes.
	maxScrapeHeader = 8 << 10
)

// doorFigures are the LDAP door's; nil before it is there.
func (d *Daemon) doorFigures() *ldapd.Figures {
	door := d.door.Load()
	if door == nil {
		return nil
	}
	return door.Figures()
}

// tellMetrics opens the door for metrics, where there is to be one.
func (d *Daemon) tellMetrics(cfg *Config, o Options) error {
	if cfg.Metrics == "" {
		return nil
	}
	l, err := net.Listen("tcp", cfg.Metrics)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", d.metrics)
	srv := &http.Server{
		Handler: mux, ReadTimeout: scrapeRequest, WriteTimeout: scrapeWrite, IdleTimeout: scrapeRequest,
		MaxHeaderBytes: maxScrapeHeader, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	d.onClose(func() { srv.Close() })
	d.log.Info("telling metrics", "url", "http://"+l.Addr().String()+"/metrics")
	d.serve(func() error { return srv.Serve(newFewListener(l, maxScrapers)) })
	return nil
}

// fewListener has no more connections open at once than it has slots.
type fewListener struct {
	net.Listener
	slots chan struct{} // one for each connection
	over  sync.Once
	done  chan struct{}
}

func newFewListener(l net.Listener, n int) *fewListener {
	return &fewListener{Listener: l, slots: make(chan struct{}, n), done: make(chan struct{})}
}

// Accept waits for a slot first.
func (l *fewListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &fewConn{Conn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close ends Accept too where that waits for a slot.
func (l *fewListener) Close() error {
	l.over.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type fewConn struct {
	net.Conn
	free func()
}

// Close gives the slot back, once.
func (c *fewConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
