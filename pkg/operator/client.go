package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"

	"shaft/pkg/engine"
)

// Client speaks to a daemon over its control socket. Each method gives the
// body as it came too, for `-o json`.
type Client struct {
	Reason   string // why changes are made; kept with their tasks
	Revision uint64 // of the queue that is to be changed, which is refused if it is another by now; 0: whatever it is
	http     *http.Client
	socket   string
}

// NewClient makes a client for the socket at path; nothing is connected yet.
func NewClient(path string) *Client {
	var d net.Dialer
	return &Client{socket: path, http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // so that nothing is to be closed
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
	}}}
}

// maxAnswer bounds what is read of a daemon's answer.
const maxAnswer = 256 << 20

// call sends one request and decodes the answer into out.
func (c *Client) call(ctx context.Context, method, path string, in, out any) ([]byte, error) {
	resp, err := c.send(ctx, method, path, in)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := c.read(resp, method)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, out); err != nil {
		return nil, fmt.Errorf("answer of the daemon: %w", err)
	}
	return text, nil
}

// send sends one request; the answer's body is to be closed.
func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://shaft"+path, body)
	if err != nil {
		return nil, err
	}
	if c.Reason != "" {
		req.Header.Set(ReasonHeader, c.Reason)
	}
	if c.Revision != 0 {
		req.Header.Set("If-Match", etag(c.Revision))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.failure(method, err)
	}
	return resp, nil
}

// read reads an answer; one that is a problem is an error.
func (c *Client) read(resp *http.Response, method string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.failure(method, err)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == "application/problem+json" {
		var p Problem
		if err := json.Unmarshal(text, &p); err != nil {
			return nil, fmt.Errorf("answer of the daemon: %w", err)
		}
		if len(p.Faults) > 0 {
			return nil, p.Faults
		}
		return nil, errors.New(p.Detail)
	}
	if resp.StatusCode >= 300 {
		return nil, fmt.Errorf("answer of the daemon: %s", resp.Status)
	}
	return text, nil
}

// failure says why there is no answer.
func (c *Client) failure(method string, err error) error {
	var op *net.OpError
	var u *url.Error
	switch {
	case errors.Is(err, context.Canceled) && method != http.MethodGet:
		return fmt.Errorf("interrupted before the daemon answered; `shaft task list` says what became of it: %w", context.Canceled)
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("no daemon answers at %s (%w); is `shaft serve` running? --socket names another", c.socket, op.Err)
	case errors.As(err, &u):
		err = u.Err
	}
	return fmt.Errorf("the daemon at %s: %w", c.socket, err)
}

// segment makes one segment of a path of any text. Dots alone are escaped too:
// they would be taken for steps in the path.
func segment(text string) string {
	if text == "." || text == ".." {
		return strings.ReplaceAll(text, ".", "%2E")
	}
	return url.PathEscape(text)
}

func dryRun(on bool) string {
	if on {
		return "?dry_run=true"
	}
	return ""
}

// ask calls and decodes an answer of one type.
func ask[T any](ctx context.Context, c *Client, method, path string, in any) (out T, raw []byte, err error) {
	raw, err = c.call(ctx, method, prefix+path, in, &out)
	return out, raw, err
}

// Status gives the daemon at a glance.
func (c *Client) Status(ctx context.Context) (engine.Status, []byte, error) {
	return ask[engine.Status](ctx, c, "GET", "/status", nil)
}

// Subscriptions lists all, by id.
func (c *Client) Subscriptions(ctx context.Context) ([]engine.Subscription, []byte, error) {
	return ask[[]engine.Subscription](ctx, c, "GET", "/subscriptions", nil)
}

// Subscription gives one.
func (c *Client) Subscription(ctx context.Context, id string) (engine.Subscription, []byte, error) {
	return ask[engine.Subscription](ctx, c, "GET", "/subscriptions/"+segment(id), nil)
}

// Add subscribes; with dry it is only checked.
func (c *Client) Add(ctx context.Context, r Request, dry bool) (engine.Added, []byte, error) {
	return ask[engine.Added](ctx, c, "POST", "/subscriptions"+dryRun(dry), r)
}

// Set changes fields of a subscription; with dry it only says what would follow.
func (c *Client) Set(ctx context.Context, id string, f Fields, dry bool) (engine.Changed, []byte, error) {
	return ask[engine.Changed](ctx, c, "PATCH", "/subscriptions/"+segment(id)+dryRun(dry), f)
}

// Remove ends a subscription; with dry it only says what would go.
func (c *Client) Remove(ctx context.Context, id string, dry bool) (engine.Removed, []byte, error) {
	return ask[engine.Removed](ctx, c, "DELETE", "/subscriptions/"+segment(id)+dryRun(dry), nil)
}

// Check tries the source of a subscription now.
func (c *Client) Check(ctx context.Context, id string) (engine.Checked, []byte, error) {
	return ask[engine.Checked](ctx, c, "POST", "/subscriptions/"+segment(id)+"/check", nil)
}

// SourceState tells how the source of a subscription is doing.
func (c *Client) SourceState(ctx context.Context, id string) (engine.Link, []byte, error) {
	return ask[engine.Link](ctx, c, "GET", "/subscriptions/"+segment(id)+"/state", nil)
}

// Members lists what a list found, by DN.
func (c *Client) Members(ctx context.Context, id string) ([]engine.Found, []byte, error) {
	return ask[[]engine.Found](ctx, c, "GET", "/subscriptions/"+segment(id)+"/members", nil)
}

// Names lists all names, by DN.
func (c *Client) Names(ctx context.Context) ([]engine.Name, []byte, error) {
	return ask[[]engine.Name](ctx, c, "GET", "/names", nil)
}

// Name gives one, by its DN, relative to the base DN or absolute.
func (c *Client) Name(ctx context.Context, dn string) (engine.Name, []byte, error) {
	return ask[engine.Name](ctx, c, "GET", "/names/"+segment(dn), nil)
}

// RemoveName removes a name's head; with dry it only says what would go.
func (c *Client) RemoveName(ctx context.Context, dn string, dry bool) (engine.Removed, []byte, error) {
	return ask[engine.Removed](ctx, c, "DELETE", "/names/"+segment(dn)+dryRun(dry), nil)
}

// Resync loads a name's content again in full; with dry it is compared.
func (c *Client) Resync(ctx context.Context, dn string, dry bool) (engine.Resynced, []byte, error) {
	return ask[engine.Resynced](ctx, c, "POST", "/names/"+segment(dn)+"/resync"+dryRun(dry), nil)
}

// Queue gives the claims on a name, head first.
func (c *Client) Queue(ctx context.Context, dn string) (Queue, []byte, error) {
	return ask[Queue](ctx, c, "GET", "/queues/"+segment(dn), nil)
}

// Tasks lists what was changed, newest first; at most limit tasks.
func (c *Client) Tasks(ctx context.Context, limit int) ([]engine.Task, []byte, error) {
	return ask[[]engine.Task](ctx, c, "GET", fmt.Sprintf("/tasks?limit=%d", limit), nil)
}

// Task gives one, by its number.
func (c *Client) Task(ctx context.Context, id string) (engine.Task, []byte, error) {
	return ask[engine.Task](ctx, c, "GET", "/tasks/"+segment(id), nil)
}

// Export gives all that operators entered.
func (c *Client) Export(ctx context.Context) (Document, []byte, error) {
	return ask[Document](ctx, c, "GET", "/export", nil)
}

// Apply makes the subscriptions those of the document. An error is
// engine.Faults where the document is wrong.
func (c *Client) Apply(ctx context.Context, d Document, prune, dry bool) (engine.Applied, []byte, error) {
	return ask[engine.Applied](ctx, c, "POST", fmt.Sprintf("/apply?prune=%v&dry_run=%v", prune, dry), d)
}
