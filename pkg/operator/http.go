package operator

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"shaft/pkg/engine"
	"shaft/pkg/queue"
)

// Handler is the JSON API over the engine.
func Handler(e Engine, version string, log *slog.Logger) http.Handler {
	a := &api{engine: e, version: version, log: log, document: openAPI(version)}
	mux := http.NewServeMux()
	allowed := map[string][]string{}
	for i := range routes {
		r := &routes[i]
		path := prefix + r.path
		mux.HandleFunc(r.method+" "+path, func(w http.ResponseWriter, req *http.Request) { a.serve(r, w, req) })
		allowed[path] = append(allowed[path], r.method)
	}
	for path, methods := range allowed {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			problem(w, Problem{Status: http.StatusMethodNotAllowed, Kind: kindMethod,
				Detail: fmt.Sprintf("%s is not for %s; it takes %s", r.URL.Path, r.Method, strings.Join(methods, ", "))})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		problem(w, Problem{Status: http.StatusNotFound, Kind: queue.KindNotFound, Detail: fmt.Sprintf("there is no %s %s", r.Method, r.URL.Path)})
	})
	return mux
}

type api struct {
	engine   Engine
	version  string
	log      *slog.Logger
	document object     // OpenAPI
	backups  sync.Mutex // held by the one that is being taken
}

// call is one request, read.
type call struct {
	*http.Request
	body          any // pointer to what the route takes
	dryRun, prune bool
	limit         int       // 0: none
	from, to      time.Time // zero: not given
	as            []string  // who is meant
	revision      uint64    // of the queue that is meant; 0: whatever it is
}

// serve reads a request, asks the engine and answers. The engine is asked
// nothing that was not understood whole.
func (a *api) serve(r *route, w http.ResponseWriter, req *http.Request) {
	c := &call{Request: req}
	err := c.readQuery(r.query)
	if err == nil {
		err = c.readMatch(r.revised)
	}
	if err == nil && r.takes != nil {
		c.body = reflect.New(reflect.TypeOf(r.takes)).Interface()
		err = decode(http.MaxBytesReader(w, req.Body, bodyLimit(r.takes)), c.body)
	}
	if err == nil {
		err = c.actor()
	}
	var v any
	switch {
	case err != nil:
	case r.file != nil:
		if err = r.file(a, c, w); err == nil {
			return
		}
	default:
		v, err = r.handle(a, c)
	}
	if err != nil {
		a.refuse(w, err)
		return
	}
	if revision, ok := revisionOf(v); ok && c.Method == http.MethodGet {
		w.Header().Set("ETag", etag(revision))
	}
	writeJSON(w, r.success(c), "application/json", filled(v))
}

// actor marks the request with who sends it, and why, for the record (R47).
func (c *call) actor() error {
	reason := c.Header.Get(ReasonHeader)
	if err := checkReason(reason); err != nil {
		return err
	}
	if c.Method != http.MethodGet {
		c.Request = c.WithContext(engine.WithActor(c.Context(), engine.Actor{Who: peerOf(c.Context()), Why: reason}))
	}
	return nil
}

func (a *api) status(c *call) (any, error) {
	s, err := a.engine.Status(c.Context())
	if s != nil {
		s.Version = a.version
	}
	return s, err
}

func (a *api) subscriptions(c *call) (any, error) { return a.engine.Subscriptions(c.Context()) }

func (a *api) subscription(c *call) (any, error) {
	return a.engine.Subscription(c.Context(), c.PathValue("id"))
}

func (a *api) add(c *call) (any, error) {
	sub, warnings, err := c.body.(*Request).Subscription()
	if err != nil {
		return nil, err
	}
	out, err := a.engine.AddSubscription(c.Context(), sub, c.dryRun)
	if err != nil {
		return nil, err
	}
	out.Warnings = append(append([]string{}, warnings...), out.Warnings...)
	return out, nil
}

// set hands the fields on by their names on the command line.
func (a *api) set(c *call) (any, error) {
	fields := map[string]string{}
	for name, value := range *c.body.(*Fields) {
		name = strings.ReplaceAll(name, "_", "-")
		if _, twice := fields[name]; twice {
			return nil, invalid("request body: field %q stands twice", name)
		}
		fields[name] = value
	}
	if len(fields) == 0 {
		return nil, invalid("request body: it names no field")
	}
	return a.engine.SetSubscription(c.Context(), c.PathValue("id"), fields, c.dryRun)
}

func (a *api) remove(c *call) (any, error) {
	return a.engine.RemoveSubscription(c.Context(), c.PathValue("id"), c.dryRun)
}

func (a *api) check(c *call) (any, error) {
	return a.engine.CheckSubscription(c.Context(), c.PathValue("id"))
}

func (a *api) sourceState(c *call) (any, error) {
	return a.engine.SourceState(c.Context(), c.PathValue("id"))
}

func (a *api) members(c *call) (any, error) {
	return a.engine.Members(c.Context(), c.PathValue("id"))
}

func (a *api) names(c *call) (any, error) { return a.engine.Names(c.Context()) }

func (a *api) name(c *call) (any, error) { return a.engine.Name(c.Context(), c.PathValue("dn")) }

func (a *api) removeName(c *call) (any, error) {
	return a.engine.RemoveName(c.Context(), c.PathValue("dn"), c.revision, c.dryRun)
}

func (a *api) resync(c *call) (any, error) {
	return a.engine.ResyncName(c.Context(), c.PathValue("dn"), c.dryRun)
}

func (a *api) queue(c *call) (any, error) {
	n, err := a.engine.Name(c.Context(), c.PathValue("dn"))
	if err != nil {
		return nil, err
	}
	return Queue{DN: n.DN, Revision: n.Revision, Claims: append([]engine.Link{n.Head}, n.Queue...), Lingering: n.Lingering}, nil
}

func (a *api) tasks(c *call) (any, error) {
	list, err := a.engine.Tasks(c.Context())
	if c.limit > 0 && len(list) > c.limit {
		list = list[:c.limit]
	}
	return list, err
}

func (a *api) task(c *call) (any, error) {
	id, err := strconv.ParseUint(c.PathValue("id"), 10, 64)
	if err != nil {
		return nil, invalid("the id of a task is a number, not %.200q", c.PathValue("id"))
	}
	return a.engine.Task(c.Context(), id)
}

func (a *api) export(c *call) (any, error) {
	d, err := a.engine.Export(c.Context())
	if err != nil {
		return nil, err
	}
	return exported(d), nil
}

func (a *api) apply(c *call) (any, error) {
	doc := c.body.(*Document)
	if doc.Subscriptions == nil {
		return nil, invalid("request body: subscriptions is missing; an empty list says that there are to be none")
	}
	d, warnings, faults := doc.records()
	if len(faults) > 0 {
		return nil, a.allFaults(c, doc, d, faults)
	}
	out, err := a.engine.Apply(c.Context(), d, c.prune, c.dryRun)
	if err != nil {
		return nil, err
	}
	out.Warnings = append(append([]string{}, warnings...), out.Warnings...)
	return out, nil
}

// allFaults asks the engine what else is wrong where some subscriptions cannot
// even be made records, so that all faults come at once, in the document's order.
func (a *api) allFaults(c *call, doc *Document, rest engine.Document, faults engine.Faults) error {
	_, err := a.engine.Apply(c.Context(), rest, false, true)
	var more engine.Faults
	var refusal *queue.Refusal
	switch {
	case errors.As(err, &more):
		faults = append(faults, more...)
	case errors.As(err, &refusal):
		faults = append(faults, engine.Fault{Reason: refusal.Reason})
	case err != nil:
		return err
	}
	place := map[string]int{}
	for i, r := range slices.Backward(doc.Subscriptions) {
		place[r.ID] = i
	}
	slices.SortStableFunc(faults, func(a, b engine.Fault) int { return place[a.Subscription] - place[b.Subscription] })
	return faults
}

func (a *api) openAPI(*call) (any, error) { return a.document, nil }
