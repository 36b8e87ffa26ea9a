package operator

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"shaft/pkg/engine"
	"shaft/pkg/queue"
)

// Handler is the JSON API over the engine.
func Handler(e Engine, version string, log *slog.Logger) http.Handler {
	a := &api{engine: e, version: version, log: log}
	mux := http.NewServeMux()
	allowed := map[string][]string{}
	for _, r := range []struct {
		method, path string
		handle       http.HandlerFunc
	}{
		{"GET", "/api/v1/status", a.status},
		{"GET", "/api/v1/subscriptions", a.subscriptions},
		{"POST", "/api/v1/subscriptions", a.add},
		{"GET", "/api/v1/subscriptions/{id}", a.subscription},
		{"DELETE", "/api/v1/subscriptions/{id}", a.remove},
		{"POST", "/api/v1/subscriptions/{id}/check", a.check},
		{"GET", "/api/v1/names", a.names},
		{"GET", "/api/v1/names/{dn}", a.name},
		{"GET", "/api/v1/queues/{dn}", a.queue},
	} {
		mux.HandleFunc(r.method+" "+r.path, r.handle)
		allowed[r.path] = append(allowed[r.path], r.method)
	}
	for path, methods := range allowed {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			problem(w, http.StatusMethodNotAllowed, "method", fmt.Sprintf("%s is not for %s; it takes %s", r.URL.Path, r.Method, strings.Join(methods, ", ")))
		})
	}
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
	dryRun, err := dryRunOf(r)
	if err == nil {
		err = decode(http.MaxBytesReader(w, r.Body, maxBody), &req)
	}
	if err != nil {
		a.reply(w, 0, nil, err)
		return
	}
	sub, warnings, err := req.Subscription()
	if err != nil {
		a.reply(w, 0, nil, err)
		return
	}
	out, err := a.engine.AddSubscription(r.Context(), sub, dryRun)
	if out != nil {
		out.Warnings = append(append([]string{}, warnings...), out.Warnings...)
	}
	code := http.StatusCreated
	if dryRun {
		code = http.StatusOK
	}
	a.reply(w, code, out, err)
}

func (a *api) remove(w http.ResponseWriter, r *http.Request) {
	dryRun, err := dryRunOf(r)
	if err != nil {
		a.reply(w, 0, nil, err)
		return
	}
	out, err := a.engine.RemoveSubscription(r.Context(), r.PathValue("id"), dryRun)
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

// dryRunOf reads the query of a request that changes something. What it does not
// know is refused: a dry run that is misspelt must not become a real one.
func dryRunOf(r *http.Request) (bool, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return false, invalid("query: %v", err)
	}
	for name, values := range query {
		if name != "dry_run" {
			return false, invalid("query: there is no parameter %q", name)
		}
		if len(values) > 1 || values[0] != "true" && values[0] != "false" {
			return false, invalid("query: dry_run is true or false, not %q", strings.Join(values, ", "))
		}
	}
	return query.Get("dry_run") == "true", nil
}

func invalid(format string, args ...any) error {
	return &queue.Refusal{Kind: "invalid", Reason: fmt.Sprintf(format, args...)}
}
