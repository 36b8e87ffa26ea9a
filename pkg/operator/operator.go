// Package operator is the one service behind every door that an operator has:
// commands and queries over the engine, spoken as JSON over HTTP on the control
// socket, the client for it, and the command line made of that client.
//
//	shaft subscription add suse --url ldap://ldap.suse.example/o=SuSe,c=DE --name cn=SuSe
//	curl --unix-socket control.sock http://shaft/api/v1/names
//
// The routes are one table, in routes.go, of which the mux and the OpenAPI
// document at /api/v1/openapi.json are both made.
//
// A refusal is application/problem+json (RFC 9457). Whoever may open the
// control socket is admin; the socket's mode is the lock.
package operator

import (
	"context"
	"io"
	"time"

	"shaft/pkg/access"
	"shaft/pkg/engine"
	"shaft/pkg/queue"
)

// Engine is what this package asks of the engine; *engine.Engine has it, but for
// what is said otherwise.
type Engine interface {
	Status(context.Context) (*engine.Status, error)
	Subscriptions(context.Context) ([]engine.Subscription, error)
	Subscription(ctx context.Context, id string) (*engine.Subscription, error)
	AddSubscription(ctx context.Context, s engine.Subscription, dryRun bool) (*engine.Added, error)
	RemoveSubscription(ctx context.Context, id string, dryRun bool) (*engine.Removed, error)
	CheckSubscription(ctx context.Context, id string) (*engine.Checked, error)
	Names(context.Context) ([]engine.Name, error)
	Name(ctx context.Context, dn string) (*engine.Name, error)
	SetSubscription(ctx context.Context, id string, fields map[string]string, dryRun bool) (*engine.Changed, error)
	SourceState(ctx context.Context, id string) (*engine.Link, error)
	Members(ctx context.Context, id string) ([]engine.Found, error)
	Export(context.Context) (*engine.Document, error)
	Apply(ctx context.Context, d engine.Document, prune, dryRun bool) (*engine.Applied, error)
	Tasks(context.Context) ([]engine.Task, error)
	Task(ctx context.Context, id uint64) (*engine.Task, error)
	ResyncName(ctx context.Context, dn string, dryRun bool) (*engine.Resynced, error)
	RemoveName(ctx context.Context, dn string, revision uint64, dryRun bool) (*engine.Removed, error)
	History(ctx context.Context, dn string) ([]engine.Happening, error)
	Availability(ctx context.Context, source string, from, to time.Time) (*engine.Availability, error)
	RenameName(ctx context.Context, dn, newDN string, claim queue.ClaimID, revision uint64, dryRun bool) (*engine.Renamed, error)
	MoveInQueue(ctx context.Context, dn string, claim queue.ClaimID, position int, revision uint64, dryRun bool) (*engine.Decided, error)
	Switch(ctx context.Context, dn string, claim queue.ClaimID, force bool, revision uint64, dryRun bool) (*engine.Switched, error)
	QueueDiff(ctx context.Context, dn string, claim queue.ClaimID) (*engine.Difference, error)
	SuppressClaim(ctx context.Context, id queue.ClaimID, revision uint64, dryRun bool) (*engine.Decided, error)
	LiftClaim(ctx context.Context, id queue.ClaimID, revision uint64, dryRun bool) (*engine.Decided, error)
	HeldRefreshes(context.Context) ([]engine.HeldRefresh, error)
	ApproveHeld(ctx context.Context, of string, revision uint64, dryRun bool) (*engine.HoldDecided, error)
	RejectHeld(ctx context.Context, of string, revision uint64, dryRun bool) (*engine.HoldDecided, error)
	Alarms(context.Context) ([]engine.Alarm, error)
	AckAlarm(ctx context.Context, id, note string, until time.Time, dryRun bool) (*engine.AlarmChanged, error)
	UnackAlarm(ctx context.Context, id string, dryRun bool) (*engine.AlarmChanged, error)
	Backup(ctx context.Context, w io.Writer, version string) (engine.BackedUp, error)
	// ExplainAccess is the LDAP door's, which has the access rules.
	ExplainAccess(ctx context.Context, dn string, as []string) (*access.Explanation, error)
}

// Queue is one name's queue, head first.
type Queue struct {
	DN       string        `json:"dn"`
	Revision uint64        `json:"revision"` // another whenever the queue is
	Claims   []engine.Link `json:"claims"`
	// Lingering is what the name shows until its head has content; nil: the head's own.
	Lingering *engine.Lingering `json:"lingering,omitempty"`
}
