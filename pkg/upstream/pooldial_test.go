package upstream

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// R13: links that share connections dial a server that is away as often as one link
// would, however many they are, and learn at once that it is back.
func TestManyLinksDialAsOne(t *testing.T) {
	var now time.Time
	dials, away := 0, errors.New("no route")
	o := Options{
		Pool: NewPool(), Now: func() time.Time { return now }, Rand: func() float64 { return 0.5 },
		MinBackoff: time.Second, MaxBackoff: 8 * time.Second,
		Dial: func(context.Context, string, string) (net.Conn, error) { dials++; return nil, away },
	}.withDefaults()
	src, _, err := ParseURL("ldap://192.0.2.1:3890/o=Away")
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Unix(1e9, 0)
	var at []time.Duration
	for now = begun; now.Before(begun.Add(30 * time.Second)); now = now.Add(100 * time.Millisecond) {
		before := dials
		for range 50 {
			if _, err := o.lease(t.Context(), src, false, func() {}); !errors.Is(err, away) {
				t.Fatalf("at %v: %v", now.Sub(begun), err)
			}
		}
		if dials > before {
			at = append(at, now.Sub(begun))
		}
	}
	if dials != len(at) || len(at) < 5 || len(at) > 8 {
		t.Errorf("%d dials, at %v", dials, at)
	}
	for i := 2; i < len(at); i++ {
		if at[i]-at[i-1] < at[i-1]-at[i-2] {
			t.Errorf("the pauses do not grow: %v", at)
		}
	}
	dials = 0
	src.Base = "o=Elsewhere"
	if _, err := o.lease(t.Context(), src, false, func() {}); !errors.Is(err, away) || dials > 1 {
		t.Errorf("another base of that server: %v after %d dials", err, dials)
	}
}
