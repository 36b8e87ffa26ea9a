package operator

import (
	"net/http"

	"shaft/pkg/access"
	"shaft/pkg/engine"
)

const prefix = "/api/v1"

// route is one operation of the API. The mux and the OpenAPI document are made
// of the same table, so that the one cannot say what the other does not do.
type route struct {
	method, path string // below prefix
	summary      string
	query        []param
	takes        any  // zero value of the body; nil: none
	gives        any  // zero value of the answer
	created      bool // 201, but for a dry run
	revised      bool // takes If-Match: the revision of the queue that is meant
	handle       func(*api, *call) (any, error)
	file         func(*api, *call, http.ResponseWriter) error // in the place of handle: it answers with a file
}

// fileType is the media type of a file that is no text.
const fileType = "application/octet-stream"

var routes = []route{
	{method: "GET", path: "/status", summary: "the daemon at a glance",
		gives: engine.Status{}, handle: (*api).status},
	{method: "GET", path: "/subscriptions", summary: "all subscriptions, by id",
		gives: []engine.Subscription{}, handle: (*api).subscriptions},
	{method: "POST", path: "/subscriptions", summary: "subscribe to a subtree or a list; the source is checked first",
		query: []param{dryRunParam}, takes: Request{}, gives: engine.Added{}, created: true, handle: (*api).add},
	{method: "GET", path: "/subscriptions/{id}", summary: "one subscription",
		gives: engine.Subscription{}, handle: (*api).subscription},
	{method: "PATCH", path: "/subscriptions/{id}", summary: "change fields of a subscription",
		query: []param{dryRunParam}, takes: Fields{}, gives: engine.Changed{}, handle: (*api).set},
	{method: "DELETE", path: "/subscriptions/{id}", summary: "remove a subscription with its claims",
		query: []param{dryRunParam}, gives: engine.Removed{}, handle: (*api).remove},
	{method: "POST", path: "/subscriptions/{id}/check", summary: "try its server now, step by step",
		gives: engine.Checked{}, handle: (*api).check},
	{method: "GET", path: "/subscriptions/{id}/state", summary: "how its source is doing: a tree's claim, a list's own search",
		gives: engine.Link{}, handle: (*api).sourceState},
	{method: "GET", path: "/subscriptions/{id}/members", summary: "what a list found, by DN",
		gives: []engine.Found{}, handle: (*api).members},
	{method: "GET", path: "/names", summary: "all names, by DN",
		gives: []engine.Name{}, handle: (*api).names},
	{method: "GET", path: "/names/{dn}", summary: "one name",
		gives: engine.Name{}, handle: (*api).name},
	{method: "DELETE", path: "/names/{dn}", summary: "remove the head's subscription if it is a tree, suppress the claim if it is a list's",
		query: []param{dryRunParam}, gives: engine.Removed{}, revised: true, handle: (*api).removeName},
	{method: "POST", path: "/names/{dn}/resync", summary: "load the head's content again in full; a dry run is an audit",
		query: []param{dryRunParam}, gives: engine.Resynced{}, handle: (*api).resync},
	{method: "POST", path: "/names/{dn}/rename", summary: "put its head, or another claim of its queue, on another name",
		query: []param{dryRunParam}, takes: Rename{}, gives: engine.Renamed{}, revised: true, handle: (*api).rename},
	{method: "GET", path: "/names/{dn}/history", summary: "what happened to a name and its claims, newest first, and how often its head's source was there",
		query: []param{fromParam, toParam}, gives: History{}, handle: (*api).history},
	{method: "GET", path: "/availability/{source}", summary: "how often the source of a claim, or of a list's own search, was there",
		query: []param{fromParam, toParam}, gives: engine.Availability{}, handle: (*api).availability},
	{method: "GET", path: "/queues/{dn}", summary: "who claims a name, head first",
		gives: Queue{}, handle: (*api).queue},
	{method: "POST", path: "/queues/{dn}/move", summary: "put a waiting claim at another position",
		query: []param{dryRunParam}, takes: Move{}, gives: engine.Decided{}, revised: true, handle: (*api).move},
	{method: "POST", path: "/queues/{dn}/switch", summary: "show another claim, whose content is fetched first; forced, it is shown whether that can be or not",
		query: []param{dryRunParam}, takes: Switch{}, gives: engine.Switched{}, revised: true, handle: (*api).switchTo},
	{method: "POST", path: "/queues/{dn}/diff", summary: "fetch a waiting claim's content and compare it with what is shown; nothing changes",
		takes: Diff{}, gives: engine.Difference{}, handle: (*api).diff},
	{method: "POST", path: "/claims/{claim}/suppress", summary: "take a list's claim out of its queue, until that is lifted or its entry goes",
		query: []param{dryRunParam}, gives: engine.Decided{}, revised: true, handle: (*api).suppress},
	{method: "POST", path: "/claims/{claim}/lift", summary: "end a suppression: the claim joins the end of its queue",
		query: []param{dryRunParam}, gives: engine.Decided{}, revised: true, handle: (*api).lift},
	{method: "GET", path: "/guard", summary: "refreshes that are held since they would remove too much, the latest first",
		gives: []engine.HeldRefresh{}, handle: (*api).guard},
	{method: "POST", path: "/guard/{claim}/approve", summary: "take what is held of a claim or a list: exactly what would go goes",
		query: []param{dryRunParam}, gives: engine.HoldDecided{}, revised: true, handle: (*api).approve},
	{method: "POST", path: "/guard/{claim}/reject", summary: "discard what is held: what is served stays, and the same set is no alarm again",
		query: []param{dryRunParam}, gives: engine.HoldDecided{}, revised: true, handle: (*api).reject},
	{method: "GET", path: "/alarms", summary: "what is wrong, gravest first",
		gives: []engine.Alarm{}, handle: (*api).alarms},
	{method: "POST", path: "/alarms/{alarm}/ack", summary: "acknowledge an alarm's present cause",
		query: []param{dryRunParam}, takes: Acknowledgement{}, gives: engine.AlarmChanged{}, handle: (*api).ackAlarm},
	{method: "POST", path: "/alarms/{alarm}/unack", summary: "take an acknowledgement back",
		query: []param{dryRunParam}, gives: engine.AlarmChanged{}, handle: (*api).unackAlarm},
	{method: "GET", path: "/access/{dn}", summary: "what somebody may do with an entry, and which access rules say so",
		query: []param{asParam}, gives: access.Explanation{}, handle: (*api).explainAccess},
	{method: "GET", path: "/tasks", summary: "what was changed, by whom and why, newest first",
		query: []param{limitParam}, gives: []engine.Task{}, handle: (*api).tasks},
	{method: "GET", path: "/tasks/{id}", summary: "one task with its steps",
		gives: engine.Task{}, handle: (*api).task},
	{method: "GET", path: "/export", summary: "all that operators entered",
		gives: Document{}, handle: (*api).export},
	{method: "POST", path: "/apply", summary: "make the subscriptions those of a document: all of them, or nothing where one is wrong",
		query: []param{pruneParam, dryRunParam}, takes: Document{}, gives: engine.Applied{}, handle: (*api).apply},
	{method: "GET", path: "/backup", summary: "the whole store as of one moment, for shaft restore",
		file: (*api).backup},
	{method: "GET", path: "/openapi.json", summary: "this document",
		gives: map[string]any{}, handle: (*api).openAPI},
}

// success is the status of an answer that is no problem.
func (r *route) success(c *call) int {
	if r.created && !c.dryRun {
		return http.StatusCreated
	}
	return http.StatusOK
}
