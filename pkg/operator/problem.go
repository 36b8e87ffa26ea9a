package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"shaft/pkg/engine"
	"shaft/pkg/queue"
)

// refuse writes the problem that err is.
func (a *api) refuse(w http.ResponseWriter, err error) {
	var refusal *queue.Refusal
	var faults engine.Faults
	switch {
	case errors.As(err, &faults):
		problem(w, Problem{Status: http.StatusBadRequest, Kind: queue.KindInvalid, Detail: faultWords(faults), Faults: faults})
	case errors.As(err, &refusal):
		problem(w, Problem{Status: refusalStatus(refusal.Kind), Kind: refusal.Kind, Detail: refusal.Reason})
	case errors.Is(err, errBackingUp):
		problem(w, Problem{Status: http.StatusConflict, Kind: kindBusy, Detail: err.Error()})
	case errors.Is(err, engine.ErrClosed), errors.Is(err, context.Canceled):
		// Canceled: by the daemon's end, or by a client that is gone.
		problem(w, Problem{Status: http.StatusServiceUnavailable, Kind: kindClosing, Detail: "the daemon is stopping"})
	default:
		a.log.Error("operator request failed", "error", err)
		problem(w, Problem{Status: http.StatusInternalServerError, Kind: kindFailed, Detail: err.Error()})
	}
}

// faultWords counts, for there may be very many.
func faultWords(faults engine.Faults) string {
	if len(faults) == 1 {
		return faults[0].String() + "; nothing has changed"
	}
	return fmt.Sprintf("%d faults; nothing has changed", len(faults))
}

func refusalStatus(kind string) int {
	switch kind {
	case queue.KindNotFound:
		return http.StatusNotFound
	case queue.KindExists, queue.KindNotHeld:
		return http.StatusConflict
	case queue.KindStale:
		return http.StatusPreconditionFailed
	case queue.KindInvalid:
		return http.StatusBadRequest
	case kindTooLarge:
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusUnprocessableEntity
}

// Problem is the body of a refusal (RFC 9457). Kind is for programs, Detail for
// people.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Kind   string `json:"kind"`
	// Faults are all that is wrong with a document, where one was sent.
	Faults engine.Faults `json:"faults,omitempty"`
}

// problem fills in what follows from the status, and writes it.
func problem(w http.ResponseWriter, p Problem) {
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	writeJSON(w, p.Status, "application/problem+json", p)
}

func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the peer went away: nobody is left to tell
}
