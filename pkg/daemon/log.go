package daemon

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
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
}

// NewLogger writes to w at the configuration's level and in its format. The
// logger of Options.Log that was made here follows Reload.
func NewLogger(w io.Writer, cfg *Config) *slog.Logger {
	h := &logHandler{mode: &logMode{}}
	h.mode.set(cfg)
	o := &slog.HandlerOptions{Level: &h.mode.level}
	h.text, h.json = slog.NewTextHandler(w, o), slog.NewJSONHandler(w, o)
	return slog.New(h)
}

// Enabled implements slog.Handler.
func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.mode.level.Level() }

// Handle implements slog.Handler.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.mode.json.Load() {
		return h.json.Handle(ctx, r)
	}
	return h.text.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.mode, h.text.WithAttrs(attrs), h.json.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.mode, h.text.WithGroup(name), h.json.WithGroup(name)}
}
