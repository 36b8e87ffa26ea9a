package operator

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"shaft/pkg/engine"
	"shaft/pkg/queue"
)

// reply writes v, or the problem that err is.
func (a *api) reply(w http.ResponseWriter, code int, v any, err error) {
	if err != nil {
		var refusal *queue.Refusal
		switch {
		case errors.As(err, &refusal):
			problem(w, refusalStatus(refusal.Kind), refusal.Kind, refusal.Reason)
		case errors.Is(err, engine.ErrClosed), errors.Is(err, context.Canceled):
			// Canceled: by the daemon's end, or by a client that is gone.
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
	case kindTooLarge:
		return http.StatusRequestEntityTooLarge
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
