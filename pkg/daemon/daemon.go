// Package daemon reads the configuration and wires everything together: it
// starts store, engine and doors, and stops them in the opposite order. It has
// no policy of its own.
//
//	cfg, err := daemon.LoadConfig("/etc/shaft/shaft.yaml")
//	d, err := daemon.Start(cfg, daemon.Options{Version: version, Log: log})
//	defer d.Close()
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"shaft/pkg/engine"
	"shaft/pkg/ldapd"
	"shaft/pkg/metrics"
	"shaft/pkg/store"
	"shaft/pkg/tree"
	"shaft/pkg/upstream"
)

// Options beside the configuration.
type Options struct {
	Version  string
	Log      *slog.Logger
	Upstream upstream.Options // how servers are reached; tests set short waits
	Probe    time.Duration    // see engine.Options.ProbeEvery
	Notify   *Notify          // the service manager; nil: none
	// Now is the clock that changes are dated by; nil: time.Now.
	Now func() time.Time
}

// Daemon is one running Shaft; several can run in one process.
type Daemon struct {
	log       *slog.Logger
	notify    *Notify
	cfg       *Config // of the start
	scratch   *store.Scratch
	memory    *tree.Memory
	engine    *engine.Engine
	metrics   *metrics.Metrics
	ldapd     *ldapd.Server
	door      atomic.Pointer[ldapd.Server] // the same, for the control socket, which is there before it
	closers   []func()                     // last in, first out
	addresses []string
	failed    chan error
	unclean   error // of closing the store
	wg        sync.WaitGroup
}

// drainTime bounds how long Close waits for what is being answered.
const drainTime = 10 * time.Second

// Start brings everything up: store, engine (which serves what is stored and
// follows the upstreams), then the doors. After an error nothing is left running.
func Start(cfg *Config, o Options) (d *Daemon, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d = &Daemon{log: o.Log, notify: o.Notify, cfg: cfg, failed: make(chan error, 8)}
	defer func() {
		if err != nil {
			d.tell(status("it does not start: " + err.Error()))
			d.Close()
		}
	}()
	d.tell(status("reading the store in " + cfg.DataDir))
	d.metrics = metrics.New(metrics.Options{Version: o.Version, Log: o.Log})
	st, err := store.Open(cfg.DataDir, store.Options{Log: o.Log, ChangeLog: cfg.ChangeLog, Committed: d.metrics.Committed,
		Ballast: store.DefaultBallast, Now: o.Now, Uncopied: engine.Uncopied})
	if err != nil {
		return d, whatToDo(err, cfg.DataDir)
	}
	d.onClose(func() {
		if d.unclean = st.Close(); d.unclean != nil {
			d.log.Error("store not closed cleanly", "error", d.unclean)
		}
	})
	if err := d.bound(cfg, st); err != nil {
		return d, err
	}
	refreshed := make(chan struct{}, 1)
	d.engine, err = engine.Open(engine.Options{
		Store: st, Schema: cfg.Schema, BaseDN: cfg.BaseDN, BaseEntry: cfg.BaseEntry, Index: cfg.Index, Memory: d.memory,
		LearnSchema: true, ServerID: cfg.ServerID, Upstream: o.Upstream, ProbeEvery: o.Probe, PromotionLimit: cfg.Promotion, Guard: &cfg.Guard, Log: o.Log,
		Refreshed: func(how engine.RefreshOutcome, took time.Duration) {
			d.metrics.Refreshed(how, took)
			select {
			case refreshed <- struct{}{}:
			default: // it is known
			}
		}, Now: o.Now,
	})
	if err != nil {
		return d, whatToDo(err, cfg.DataDir)
	}
	d.onClose(d.engine.Close)
	tendCollector() // not before: what a start reads nearly all stays, and to look through it often takes time
	d.metrics.Watch(metrics.Watched{Engine: d.engine, Store: st, LDAP: d.doorFigures})
	if err := d.control(cfg, o); err != nil {
		return d, err
	}
	if err := d.ldap(cfg, o); err != nil {
		return d, err
	}
	if err := d.snmp(cfg, o); err != nil {
		return d, err
	}
	if err := d.tellMetrics(cfg, o); err != nil {
		return d, err
	}
	d.tell("READY=1", d.serving())
	resting, wake := context.WithCancel(context.Background())
	d.onClose(wake)
	d.serve(func() error { rest(resting, refreshed, restAfter, restEvery, d.giveBack(st)); return nil })
	d.onClose(func() { d.tell("STOPPING=1", status("finishing what is being answered")) })
	if d.notify != nil && d.notify.watchdog > 0 {
		ctx, cancel := context.WithCancel(context.Background())
		d.onClose(cancel)
		d.serve(func() error { d.watch(ctx, d.engine.Alive); return nil })
	}
	d.log.Info("serving", "version", o.Version, "base", cfg.BaseDN.String(), "listen", d.addresses, "control", cfg.ControlSocket)
	return d, nil
}

// bound has values beyond what the configuration says be kept outside memory.
func (d *Daemon) bound(cfg *Config, st *store.Store) error {
	scratch, err := st.Scratch()
	if err != nil {
		return err
	}
	d.scratch = scratch
	d.onClose(func() {
		if err := scratch.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			d.log.Warn("file for values not closed", "path", scratch.Name(), "error", err)
		}
	})
	d.memory = tree.NewMemory(cfg.Memory, scratch, func(err error) {
		if err != nil {
			d.log.Error("values cannot leave memory, which holds more of them than it should", "path", scratch.Name(), "error", err)
			return
		}
		d.log.Info("values can leave memory again", "path", scratch.Name())
	})
	return nil
}

// whatToDo says what an operator can do about a store that is there and cannot be used.
func whatToDo(err error, dir string) error {
	if !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%w; what was decided here is not whole any more: bring the last backup back with `shaft restore --force FILE`, which moves this store aside, or move what is in %s away, start, and `shaft apply` the last export", err, dir)
}

// serving is what the service manager is told while all is well.
func (d *Daemon) serving() string {
	where := strings.Join(d.addresses, " ")
	if where == "" {
		where = "the control socket alone"
	}
	return status(fmt.Sprintf("serving %q at %s", d.cfg.BaseDN, where))
}

func (d *Daemon) onClose(fn func()) { d.closers = append(d.closers, fn) }

// Close stops the doors, the upstream links and the writer, and closes the store; its error is the store's.
func (d *Daemon) Close() error {
	for i := len(d.closers) - 1; i >= 0; i-- {
		d.closers[i]()
	}
	d.closers = nil
	d.wg.Wait()
	return d.unclean
}

// Addresses are the LDAP listeners' URLs, with the ports that were given for port 0.
func (d *Daemon) Addresses() []string { return d.addresses }

// Engine gives the commands and queries.
func (d *Daemon) Engine() *engine.Engine { return d.engine }

// Failed tells of a door that stopped serving.
func (d *Daemon) Failed() <-chan error { return d.failed }

func (d *Daemon) ldap(cfg *Config, o Options) error {
	var err error
	var origins ldapd.Origins
	if cfg.WriteReferral {
		origins = d.engine
	}
	d.ldapd, err = ldapd.New(ldapd.Options{
		Origins: origins, Binds: d.engine,
		Backend: d.engine, Redated: d.engine.Redated(), Accounts: cfg.identities(), Log: o.Log, VendorVersion: o.Version,
		Access: cfg.Access, AccessSince: d.accessSince(cfg.DataDir, cfg.Access, d.engine.Version().CSN(), d.heldSince), Advance: d.advance,
		Instance: d.engine.Instance, Upstreams: d.engine.Upstreams, Standing: d.standing, Schema: d.engine.Schema, Followed: d.followed, TLS: cfg.TLS,
		MaxConns: connections(cfg.Limits.Connections, o.Log), MaxPerAddress: cfg.Limits.PerAddress,
		IdleTimeout: cfg.Limits.Idle, RequestTimeout: cfg.Limits.Request,
	})
	if err != nil {
		return err
	}
	d.door.Store(d.ldapd)
	d.onClose(func() {
		ctx, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		if err := d.ldapd.Close(ctx); err != nil {
			d.log.Warn("LDAP connections cut off", "error", err)
		}
	})
	for _, url := range cfg.Listen {
		l, err := ldapd.Listen(url)
		if err != nil {
			return err
		}
		d.addresses = append(d.addresses, ldapd.URLOf(l))
		d.serve(func() error { return d.ldapd.Serve(l) })
	}
	return nil
}

func (d *Daemon) serve(fn func() error) {
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		if err := fn(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
			select {
			case d.failed <- err:
			default:
			}
		}
	}()
}
