package operator

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"time"

	"shaft/pkg/engine"
)

// Acknowledgement says why somebody need not look at an alarm any more, and for
// how long (R50).
type Acknowledgement struct {
	Note  string `json:"note,omitempty"`
	Until Until  `json:"until,omitzero"`
}

// Until is when something ends by itself; zero is never. In JSON it is RFC 3339 text.
type Until struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (u *Until) UnmarshalJSON(text []byte) error {
	var value string
	err := json.Unmarshal(text, &value)
	if err == nil {
		u.Time, err = time.Parse(time.RFC3339, value)
	}
	if err != nil {
		return invalid("request body: field \"until\" is to be a time as RFC 3339 has it, 2026-01-02T15:04:05Z, not %.200s", text)
	}
	return nil
}

// jsonSchema implements schemer.
func (Until) jsonSchema() map[string]any {
	return map[string]any{"type": "string", "format": "date-time"}
}

// maxNote bounds the note of an acknowledgement, in bytes, as the engine does.
const maxNote = 1 << 10

func checkNote(text string) error { return checkLine("the note", text, maxNote) }

func (a *api) alarms(c *call) (any, error) { return a.engine.Alarms(c.Context()) }

func (a *api) ackAlarm(c *call) (any, error) {
	ack := c.body.(*Acknowledgement)
	if err := checkNote(ack.Note); err != nil {
		return nil, err
	}
	return a.engine.AckAlarm(c.Context(), c.PathValue("alarm"), ack.Note, ack.Until.Time, c.dryRun)
}

func (a *api) unackAlarm(c *call) (any, error) {
	return a.engine.UnackAlarm(c.Context(), c.PathValue("alarm"), c.dryRun)
}

// Alarms lists what is raised, gravest first.
func (c *Client) Alarms(ctx context.Context) ([]engine.Alarm, []byte, error) {
	return ask[[]engine.Alarm](ctx, c, "GET", "/alarms", nil)
}

// AckAlarm acknowledges an alarm's present cause; with dry it only says what would be.
func (c *Client) AckAlarm(ctx context.Context, id string, ack Acknowledgement, dry bool) (engine.AlarmChanged, []byte, error) {
	return ask[engine.AlarmChanged](ctx, c, "POST", "/alarms/"+segment(id)+"/ack"+dryRun(dry), ack)
}

// UnackAlarm takes an acknowledgement back; with dry it only says what would be.
func (c *Client) UnackAlarm(ctx context.Context, id string, dry bool) (engine.AlarmChanged, []byte, error) {
	return ask[engine.AlarmChanged](ctx, c, "POST", "/alarms/"+segment(id)+"/unack"+dryRun(dry), nil)
}

func (c *cli) alarmList(ctx context.Context, _ []string) error {
	return show(c, func(list []engine.Alarm) {
		rows := [][]string{{"ID", "KIND", "SEVERITY", "SINCE", "OF", "ACKNOWLEDGED", "CAUSE"}}
		for _, a := range list {
			rows = append(rows, []string{a.ID, string(a.Kind), string(a.Severity), stamp(a.Since), cmp.Or(a.Name, a.Subscription), acknowledged(&a), a.Cause})
		}
		c.table(rows)
	})(c.client.Alarms(ctx))
}

// acknowledged says in one cell whether somebody looked at an alarm, and what was noted.
func acknowledged(a *engine.Alarm) string {
	if !a.Acknowledged {
		return "no"
	}
	text := "yes"
	if a.Until != nil {
		text = "until " + stamp(*a.Until)
	}
	if a.Note != "" {
		text += ": " + shorten(a.Note, outcomeShown)
	}
	return text
}

func (c *cli) ackFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.note, "note", "", "a note for whoever sees the alarm next")
	fs.Func("until", "`TIME` at which it is raised again by itself: RFC 3339, or from now on, such as 2h (when its cause changes)", func(text string) (err error) {
		c.until.Time, err = c.timeOf(text, 1)
		return err
	})
	c.changeFlags(fs)
}

// timeOf reads a time: RFC 3339, or a duration from now on, forward with
// direction 1 and back with -1.
func (c *cli) timeOf(text string, direction time.Duration) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return time.Time{}, fmt.Errorf("a time such as 2026-01-02T15:04:05Z, or a duration such as 2h, is needed")
	}
	return c.now().Add(direction * d), nil
}

func (c *cli) alarmAck(ctx context.Context, args []string) error {
	if err := checkNote(c.note); err != nil {
		return usage("--note: %v", err)
	}
	return show(c, func(out engine.AlarmChanged) {
		until := "until its cause changes"
		if out.Alarm.Until != nil {
			until = "until " + stamp(*out.Alarm.Until) + ", or its cause changes"
		}
		c.line("%s %s, %s: %s", args[0], would(out.DryRun, "acknowledged"), until, out.Alarm.Cause)
	})(c.client.AckAlarm(ctx, args[0], Acknowledgement{Note: c.note, Until: c.until}, c.dry))
}

func (c *cli) alarmUnack(ctx context.Context, args []string) error {
	return show(c, func(out engine.AlarmChanged) {
		c.line("%s %s: %s", args[0], would(out.DryRun, "raised again"), out.Alarm.Cause)
	})(c.client.UnackAlarm(ctx, args[0], c.dry))
}
