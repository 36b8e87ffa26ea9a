package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/operator"
)

const (
	// fleetServers hold what fleetSubscriptions follow: a base each, with
	// fleetBelow entries below it. The servers are this process's.
	fleetServers       = 50
	fleetSubscriptions = 1000
	fleetBelow         = 9
	// fleetRest is how long nothing happens while idle CPU time is counted: each
	// connection is asked once whether it lives.
	fleetRest = 30 * time.Second
	// fleetOutage is how long the servers hang up on whoever connects.
	fleetOutage = 10 * time.Second
)

// fleetRow is what very many subscriptions cost, and how they come back after an outage of
// all servers. Nothing else is like it, so the sides are the two ways in which they are made.
var fleetRow = row{
	name: "fleet",
	title: func(options) string {
		return fmt.Sprintf("%d subscriptions to %d servers, %d entries each", fleetSubscriptions, fleetServers, 1+fleetBelow)
	},
	sides: [2]string{"by one document", "one by one"},
	figures: []figure{
		{"s until all are live", cost}, {"CPU s until then", cost}, {"peak RSS MiB", cost}, {"RSS without files MiB", cost},
		{"connections to a server", cost}, {"ms for the list of names", cost}, {"CPU s of an idle minute", cost},
		{"s from a start until all are live", cost}, {"CPU s of that", cost},
		{fmt.Sprintf("connections to a server in an outage of %v", fleetOutage), cost}, {"CPU s of the outage and what follows", cost},
		{"s from its end until all are live", cost},
	},
	// What runs at a load of 19 gave, and a fifth more; times of the wall have none.
	ceilings: map[string]float64{"CPU s until then": 1.7, "peak RSS MiB": 170, "RSS without files MiB": 145, "connections to a server": 1,
		"CPU s of an idle minute": 0.65, "CPU s of that": 1, fmt.Sprintf("connections to a server in an outage of %v", fleetOutage): 5, "CPU s of the outage and what follows": 2.9},
	long: true,
	sample: func(ctx context.Context, b *bench, s side) ([]float64, error) {
		return b.sampleFleet(ctx, s, fleetSubscriptions, fleetRest, fleetOutage)
	},
}

// fleet is a Shaft and the servers that it follows.
type fleet struct {
	*shaft
	b             *bench
	side          side
	servers       []*ldaptest.Server
	subscriptions int
}

func (b *bench) sampleFleet(ctx context.Context, s side, subscriptions int, rest, outage time.Duration) ([]float64, error) {
	f := &fleet{b: b, side: s, subscriptions: subscriptions}
	defer f.close()
	if err := f.serve(); err != nil {
		return nil, err
	}
	started, err := b.startShaft("")
	if err != nil {
		return nil, err
	}
	f.shaft = started
	var values []float64
	for _, measure := range []func(context.Context) ([]float64, error){
		f.first, f.list,
		func(context.Context) ([]float64, error) { return f.rest(rest) },
		f.restart,
		func(ctx context.Context) ([]float64, error) { return f.outage(ctx, outage) },
	} {
		more, err := measure(ctx)
		if err != nil {
			return nil, err
		}
		values = append(values, more...)
	}
	return values, nil
}

// serve starts the servers.
func (f *fleet) serve() error {
	for i := range fleetServers {
		var text strings.Builder
		fmt.Fprintf(&text, "dn: o=%d\nobjectClass: organization\no: %d\n", i, i)
		for j := i; j < f.subscriptions; j += fleetServers {
			fmt.Fprintf(&text, "\ndn: ou=%d,o=%d\nobjectClass: organizationalUnit\nou: %d\n", j, i, j)
			for k := range fleetBelow {
				fmt.Fprintf(&text, "\ndn: cn=%d,ou=%d,o=%d\nobjectClass: organizationalRole\ncn: %d\ndescription: entry %d of %d\n", k, j, i, k, k, j)
			}
		}
		up, err := ldaptest.Start(ldaptest.Options{Suffix: fmt.Sprintf("o=%d", i), LDIF: text.String()})
		if err != nil {
			return err
		}
		f.servers = append(f.servers, up)
	}
	return nil
}

func (f *fleet) close() {
	if f.shaft != nil {
		f.stop()
	}
	for _, up := range f.servers {
		up.Close()
	}
}

// request is subscription i.
func (f *fleet) request(i int) operator.Request {
	at := i % fleetServers
	return operator.Request{ID: fmt.Sprintf("s%d", i), Name: fmt.Sprintf("cn=%d", i), URL: fmt.Sprintf("%s/ou=%d,o=%d", f.servers[at].URL(), i, at)}
}

// first makes the subscriptions.
func (f *fleet) first(ctx context.Context) ([]float64, error) {
	if err := f.answers(ctx); err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := f.subscribe(ctx); err != nil {
		return nil, err
	}
	if err := f.awaitLive(ctx); err != nil {
		return nil, err
	}
	wall := time.Since(begin).Seconds()
	cpu, err := f.cpu()
	if err != nil {
		return nil, err
	}
	peak, anonymous, err := f.memory()
	if err != nil {
		return nil, err
	}
	made := 0
	for _, up := range f.servers {
		made += up.Stats().Open
	}
	err = f.mark("first")
	return []float64{wall, cpu, peak, anonymous, float64(made) / fleetServers}, err
}

func (f *fleet) subscribe(ctx context.Context) error {
	var all operator.Document
	for i := range f.subscriptions {
		if f.side == ours {
			all.Subscriptions = append(all.Subscriptions, f.request(i))
			continue
		}
		if _, _, err := f.client.Add(ctx, f.request(i), false); err != nil {
			return err
		}
	}
	if f.side == ours {
		_, _, err := f.client.Apply(ctx, all, false, false)
		return err
	}
	return nil
}

func (f *fleet) answers(ctx context.Context) error {
	return f.await("its control socket answers", patience, func() (bool, error) {
		_, _, err := f.client.Status(ctx)
		return err == nil, err
	})
}

// awaitLive waits until every name follows its source. The list costs the server something,
// and is not asked for while the servers miss a search.
func (f *fleet) awaitLive(ctx context.Context) error {
	return f.await("the names are live", refreshLimit, func() (bool, error) {
		persisting := 0
		for _, up := range f.servers {
			persisting += up.Stats().Persisting
		}
		if persisting < f.subscriptions {
			return false, fmt.Errorf("%d searches are in their persist stage", persisting)
		}
		names, _, err := f.client.Names(ctx)
		live := 0
		for _, n := range names {
			if n.Head.State == "live" && n.Entries == 1+fleetBelow {
				live++
			}
		}
		if err == nil && live < f.subscriptions {
			err = fmt.Errorf("%d names are live", live)
		}
		return err == nil, err
	})
}

// mark keeps the profile of what was done last.
func (f *fleet) mark(what string) error {
	way := []string{"document", "single"}[f.side]
	return f.profiles.mark(f.process, fmt.Sprintf("%s-%s-%s", f.b.profileName(), way, what))
}

// list asks for the names, some times.
func (f *fleet) list(ctx context.Context) ([]float64, error) {
	var took []float64
	for range 11 {
		begin := time.Now()
		if _, _, err := f.client.Names(ctx); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin).Seconds()*1e3)
	}
	return []float64{spreadOf(took).median}, nil
}

// rest counts the CPU time of a minute without changes.
func (f *fleet) rest(d time.Duration) ([]float64, error) {
	if err := f.idle(); err != nil {
		return nil, err
	}
	before, err := f.cpu()
	if err != nil {
		return nil, err
	}
	time.Sleep(d)
	after, err := f.cpu()
	if err == nil {
		err = f.mark("idle")
	}
	return []float64{(after - before) * time.Minute.Seconds() / d.Seconds()}, err
}

// restart ends Shaft, and starts it on what is stored.
func (f *fleet) restart(ctx context.Context) ([]float64, error) {
	f.stop()
	begin := time.Now()
	if err := f.start(f.b); err != nil {
		return nil, err
	}
	if err := f.answers(ctx); err != nil {
		return nil, err
	}
	if err := f.awaitLive(ctx); err != nil {
		return nil, err
	}
	wall := time.Since(begin).Seconds()
	cpu, err := f.cpu()
	if err == nil {
		err = f.mark("restart")
	}
	return []float64{wall, cpu}, err
}

// outage has all servers away for a time.
func (f *fleet) outage(ctx context.Context, d time.Duration) ([]float64, error) {
	before, err := f.cpu()
	if err != nil {
		return nil, err
	}
	for _, up := range f.servers {
		up.TurnAway()
	}
	time.Sleep(d)
	tried := 0
	for _, up := range f.servers {
		tried += len(up.Stats().TurnedAway)
		if err := up.Up(); err != nil {
			return nil, err
		}
	}
	begin := time.Now()
	if err := f.awaitLive(ctx); err != nil {
		return nil, err
	}
	wall := time.Since(begin).Seconds()
	after, err := f.cpu()
	if err == nil {
		err = f.mark("outage")
	}
	return []float64{float64(tried) / fleetServers, after - before, wall}, err
}
