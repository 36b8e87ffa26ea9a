package operator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"shaft/pkg/engine"
	"shaft/pkg/queue"
)

// maxBody bounds a request's JSON.
const maxBody = 1 << 20

// Handler is the JSON API over the engine.
func Handler(e Engine, version string, log *slog.Logger) http.Handler {
	a := &api{engine: e, version: version, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/status", a.status)
	mux.HandleFunc("GET /api/v1/subscriptions", a.subscriptions)
	mux.HandleFunc("POST /api/v1/subscriptions", a.add)
	mux.HandleFunc("GET /api/v1/subscriptions/{id}", a.subscription)
	mux.HandleFunc("DELETE /api/v1/subscriptions/{id}", a.remove)
	mux.HandleFunc("POST /api/v1/subscriptions/{id}/check", a.check)
	mux.HandleFunc("GET /api/v1/names", a.names)
	mux.HandleFunc("GET /api/v1/names/{dn}", a.name)
	mux.HandleFunc("GET /api/v1/queues/{dn}", a.queue)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, "not-found", fmt.Sprintf("there is no %s %s", r.Method, r.URL.Path))
	})
	return mux
}

type api struct {
	engine  Engine
	version string
	log     *slog.Logger
}

func (a *api) status(w http.ResponseWriter, r *http.Request) {
	s, err := a.engine.Status(r.Context())
	if s != nil {
		s.Version = a.version
	}
	a.reply(w, http.StatusOK, s, err)
}

func (a *api) subscriptions(w http.ResponseWriter, r *http.Request) {
	list, err := a.engine.Subscriptions(r.Context())
	a.reply(w, http.StatusOK, list, err)
}

func (a *api) subscription(w http.ResponseWriter, r *http.Request) {
	s, err := a.engine.Subscription(r.Context(), r.PathValue("id"))
	a.reply(w, http.StatusOK, s, err)
}

func (a *api) add(w http.ResponseWriter, r *http.Request) {
	var req Request
	if err := decode(http.MaxBytesReader(w, r.Body, maxBody), &req); err != nil {
		problem(w, http.StatusBadRequest, "invalid", err.Error())
		return
	}
	sub, warnings, err := req.Subscription()
	if err != nil {
		a.reply(w, 0, nil, err)
		return
	}
	dryRun := r.URL.Query().Get("dry_run") == "true"
	out, err := a.engine.AddSubscription(r.Context(), sub, dryRun)
	if out != nil {
		out.Warnings = append(warnings, out.Warnings...)
	}
	code := http.StatusCreated
	if dryRun {
		code = http.StatusOK
	}
	a.reply(w, code, out, err)
}

func (a *api) remove(w http.ResponseWriter, r *http.Request) {
	out, err := a.engine.RemoveSubscription(r.Context(), r.PathValue("id"), r.URL.Query().Get("dry_run") == "true")
	a.reply(w, http.StatusOK, out, err)
}

func (a *api) check(w http.ResponseWriter, r *http.Request) {
	out, err := a.engine.CheckSubscription(r.Context(), r.PathValue("id"))
	a.reply(w, http.StatusOK, out, err)
}

func (a *api) names(w http.ResponseWriter, r *http.Request) {
	list, err := a.engine.Names(r.Context())
	a.reply(w, http.StatusOK, list, err)
}

func (a *api) name(w http.ResponseWriter, r *http.Request) {
	n, err := a.engine.Name(r.Context(), r.PathValue("dn"))
	a.reply(w, http.StatusOK, n, err)
}

func (a *api) queue(w http.ResponseWriter, r *http.Request) {
	n, err := a.engine.Name(r.Context(), r.PathValue("dn"))
	if err != nil {
		a.reply(w, 0, nil, err)
		return
	}
	a.reply(w, http.StatusOK, Queue{DN: n.DN, Claims: append([]engine.Link{n.Head}, n.Queue...)}, nil)
}

// reply writes v, or the problem that err is.
func (a *api) reply(w http.ResponseWriter, code int, v any, err error) {
	if err != nil {
		var refusal *queue.Refusal
		switch {
		case errors.As(err, &refusal):
			problem(w, refusalStatus(refusal.Kind), refusal.Kind, refusal.Reason)
		case errors.Is(err, engine.ErrClosed):
			problem(w, http.StatusServiceUnavailable, "closing", "the daemon is stopping")
		default:
			a.log.Error("operator request failed", "error", err)
			problem(w, http.StatusInternalServerError, "failed", err.Error())
		}
		return
	}
	writeJSON(w, code, "application/json", v)
}

func refusalStatus(kind string) int {
	switch kind {
	case "not-found":
		return http.StatusNotFound
	case "exists":
		return http.StatusConflict
	case "invalid":
		return http.StatusBadRequest
	}
	return http.StatusUnprocessableEntity
}

// Problem is the body of a refusal (RFC 9457). Kind is for programs.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Kind   string `json:"kind"`
}

func problem(w http.ResponseWriter, status int, kind, detail string) {
	writeJSON(w, status, "application/problem+json", Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Kind: kind,
	})
}

func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the peer went away: nobody is left to tell
}

// decode reads one JSON value strictly; errors name the line and column, or
// the field.
func decode(r io.Reader, v any) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("request body: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err = dec.Decode(v)
	if err == nil && dec.More() {
		err = errors.New("more than one JSON value")
	}
	if err == nil {
		return nil
	}
	at := dec.InputOffset()
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		at = syntax.Offset
	case errors.As(err, &typ):
		at = typ.Offset
	}
	line, column := position(text, at)
	return fmt.Errorf("request body, line %d, column %d: %w", line, column, err)
}

func position(text []byte, offset int64) (line, column int) {
	line, column = 1, 1
	for _, c := range text[:min(int(offset), len(text))] {
		if c == '\n' {
			line, column = line+1, 0
		}
		column++
	}
	return line, column
}
