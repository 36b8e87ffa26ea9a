package daemon

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"shaft/pkg/ldapd"
)

// logMode is what of a logger can change under way; shared by all that were
// derived from it.
type logMode struct {
	level slog.LevelVar
	json  atomic.Bool
}

func (m *logMode) set(cfg *Config) {
	m.level.Set(cfg.LogLevel)
	m.json.Store(cfg.LogJSON)
}

// logHandler writes as text or as JSON, as its mode says at that moment.
type logHandler struct {
	mode       *logMode
	text, json slog.Handler
	out        *lockedWriter
}

// lockedWriter lets the handlers share one writer.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// stats writes a line of ldapd.LevelStats, which has a form of its own, behind the time.
func (h *logHandler) stats(r slog.Record) error {
	line := r.Time.UTC().AppendFormat(nil, "2006-01-02T15:04:05.000000Z ")
	_, err := h.out.Write(append(append(line, r.Message...), '\n'))
	return err
}

// nameStats has the level of such lines called STATS, not DEBUG+2.
func nameStats(_ []string, a slog.Attr) slog.Attr {
	if l, ok := a.Value.Any().(slog.Level); ok && a.Key == slog.LevelKey && l == ldapd.LevelStats {
		return slog.String(slog.LevelKey, "STATS")
	}
	return a
}

// NewLogger writes to w at the configuration's level and in its format. The
// logger of Options.Log that was made here follows Reload.
func NewLogger(w io.Writer, cfg *Config) *slog.Logger {
	h := &logHandler{mode: &logMode{}, out: &lockedWriter{w: w}}
	h.mode.set(cfg)
	o := &slog.HandlerOptions{Level: &h.mode.level, ReplaceAttr: nameStats}
	h.text, h.json = slog.NewTextHandler(h.out, o), slog.NewJSONHandler(h.out, o)
	return slog.New(h)
}

// Enabled implements slog.Handler.
func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.mode.level.Level() }

// Handle implements slog.Handler.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.mode.json.Load() {
		return h.json.Handle(ctx, r)
	}
	if r.Level == ldapd.LevelStats {
		return h.stats(r)
	}
	return h.text.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.mode, h.text.WithAttrs(attrs), h.json.WithAttrs(attrs), h.out}
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.mode, h.text.WithGroup(name), h.json.WithGroup(name), h.out}
}
