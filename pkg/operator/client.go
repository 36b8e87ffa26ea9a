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
	http   *http.Client
	socket string
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
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.failure(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.failure(err)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == "application/problem+json" {
		var p Problem
		if err := json.Unmarshal(text, &p); err != nil {
			return nil, fmt.Errorf("answer of the daemon: %w", err)
		}
		return nil, errors.New(p.Detail)
	}
	if resp.StatusCode >= 300 {
		return nil, fmt.Errorf("answer of the daemon: %s", resp.Status)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return nil, fmt.Errorf("answer of the daemon: %w", err)
	}
	return text, nil
}

// failure says why there is no answer.
func (c *Client) failure(err error) error {
	var op *net.OpError
	var u *url.Error
	switch {
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

// Status gives the daemon at a glance.
func (c *Client) Status(ctx context.Context) (out engine.Status, raw []byte, err error) {
	raw, err = c.call(ctx, "GET", "/api/v1/status", nil, &out)
	return out, raw, err
}

// Subscriptions lists all, by id.
func (c *Client) Subscriptions(ctx context.Context) (out []engine.Subscription, raw []byte, err error) {
	raw, err = c.call(ctx, "GET", "/api/v1/subscriptions", nil, &out)
	return out, raw, err
}

// Subscription gives one.
func (c *Client) Subscription(ctx context.Context, id string) (out engine.Subscription, raw []byte, err error) {
	raw, err = c.call(ctx, "GET", "/api/v1/subscriptions/"+segment(id), nil, &out)
	return out, raw, err
}

// Add subscribes; with dry it is only checked.
func (c *Client) Add(ctx context.Context, r Request, dry bool) (out engine.Added, raw []byte, err error) {
	raw, err = c.call(ctx, "POST", "/api/v1/subscriptions"+dryRun(dry), r, &out)
	return out, raw, err
}

// Remove ends a subscription; with dry it only says what would go.
func (c *Client) Remove(ctx context.Context, id string, dry bool) (out engine.Removed, raw []byte, err error) {
	raw, err = c.call(ctx, "DELETE", "/api/v1/subscriptions/"+segment(id)+dryRun(dry), nil, &out)
	return out, raw, err
}

// Check tries the source of a subscription now.
func (c *Client) Check(ctx context.Context, id string) (out engine.Checked, raw []byte, err error) {
	raw, err = c.call(ctx, "POST", "/api/v1/subscriptions/"+segment(id)+"/check", nil, &out)
	return out, raw, err
}

// Names lists all names, by DN.
func (c *Client) Names(ctx context.Context) (out []engine.Name, raw []byte, err error) {
	raw, err = c.call(ctx, "GET", "/api/v1/names", nil, &out)
	return out, raw, err
}

// Name gives one, by its DN, relative to the base DN or absolute.
func (c *Client) Name(ctx context.Context, dn string) (out engine.Name, raw []byte, err error) {
	raw, err = c.call(ctx, "GET", "/api/v1/names/"+segment(dn), nil, &out)
	return out, raw, err
}

// Queue gives the claims on a name, head first.
func (c *Client) Queue(ctx context.Context, dn string) (out Queue, raw []byte, err error) {
	raw, err = c.call(ctx, "GET", "/api/v1/queues/"+segment(dn), nil, &out)
	return out, raw, err
}
