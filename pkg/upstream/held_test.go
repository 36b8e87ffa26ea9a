package upstream

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/syncrepl"
)

// holder is a feed whose refreshes end as it says.
type holder struct {
	*recorder
	done func(begin int) error
}

func (h *holder) Begin(ctx context.Context, server string) ([]byte, syncrepl.Sink, error) {
	cookie, _, err := h.recorder.Begin(ctx, server)
	return cookie, h, err
}

func (h *holder) RefreshDone(end syncrepl.End) error {
	begins, _ := h.count()
	if err := h.done(begins); err != nil {
		return err
	}
	return h.recorder.RefreshDone(end)
}

// R36: a refresh that is held ends the session in good order: the server counts as there, the
// search is given up, and the source is read again after a long pause, as one that is down where it is.
func TestR36Held(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) {
		if s.number == 3 {
			s.fail(52, "closing time")
			return
		}
		s.refresh(2, fmt.Sprint("c", s.number))
	}})
	c := newClock()
	h := &holder{newRecorder(), func(begin int) error {
		if begin < 4 {
			return fmt.Errorf("much goes: %w", ErrHeld)
		}
		return nil
	}}
	o := quick()
	o.After, o.HeldPause = c.after, 7*time.Minute
	l := follow(t, s.source(), h, o)
	begin := "begin " + s.ln.Addr().String() + " "
	for range 2 {
		h.happens(t, begin)
		h.happens(t, "end")
		if d := c.next(t); d != 7*time.Minute {
			t.Errorf("a pause of %v", d)
		}
		if got := h.await(t, Held); !got.Online() || got.Reason != "" || got.Server != s.ln.Addr().String() {
			t.Errorf("%+v", got)
		}
		if now := l.Status(); now.State != Held || !now.Online() {
			t.Errorf("%+v", now)
		}
		c.end(t)
	}
	c.next(t)
	wantReason(t, h.await(t, Down).Reason, "closing time")
	c.end(t)
	h.await(t, Live)
	h.happens(t, "refreshed c4")
}

// R36: a sink that wants to begin again does so after the pause of a failure, and nothing counts as down.
func TestR36Again(t *testing.T) {
	noLeak(t)
	s := listen(t, &server{sync: func(s *session, r request) { s.refresh(1, "c") }})
	c := newClock()
	h := &holder{newRecorder(), func(begin int) error {
		if begin < 3 {
			return ErrAgain
		}
		return nil
	}}
	o := quick()
	o.After = c.after
	follow(t, s.source(), h, o)
	for range 2 {
		if d := c.next(t); d > o.MaxBackoff {
			t.Errorf("a pause of %v", d)
		}
		c.end(t)
	}
	for {
		got := next(t, h.statuses)
		if got.State == Down || got.State == Held {
			t.Errorf("%+v", got)
		}
		if got.State == Live {
			break
		}
	}
}

// R12, R36: a source that is polled is held likewise, and read again at its interval.
func TestR36HeldPolls(t *testing.T) {
	for name, o := range map[string]ldaptest.Options{"refreshOnly": {NoPersist: true}, "pages": {NoSync: true, PageLimit: 2}} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			_, src := tea(t, o)
			h := &holder{newRecorder(), func(begin int) error {
				if begin < 8 {
					return ErrHeld
				}
				return nil
			}}
			l := follow(t, src, h, quick())
			if got := h.await(t, Held); !got.Online() {
				t.Errorf("%+v", got)
			}
			h.await(t, Polling)
			if now := l.Status(); now.State != Polling {
				t.Errorf("%+v", now)
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, err := range h.ends {
				if err != nil && !errors.Is(err, ErrHeld) && !errors.Is(err, syncrepl.ErrNotSync) && !refusesSync(err) {
					t.Errorf("a session ended with %v", err)
				}
			}
		})
	}
}
