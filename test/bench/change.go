package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"shaft/pkg/ber"
)

// rootPassword is that of each provider's rootdn.
const rootPassword = "secret"

// editor is a connection on which a provider's entries are changed.
type editor struct {
	nc   net.Conn
	in   *bufio.Reader
	last int64 // message ID
}

// edit binds as a provider's rootdn.
func edit(p *slapd) (*editor, error) {
	nc, err := net.DialTimeout("tcp", p.address, patience)
	if err != nil {
		return nil, err
	}
	e := &editor{nc: nc, in: bufio.NewReader(nc)}
	bind := ber.AppendInt(nil, ber.Integer, 3)
	bind = ber.AppendString(bind, ber.OctetString, "cn=admin,"+p.content.suffix())
	bind = ber.AppendString(bind, ber.ContextPrimitive(0), rootPassword)
	if err := e.request(ber.Application(0), bind); err != nil {
		nc.Close()
		return nil, err
	}
	return e, nil
}

// describe gives an entry a description in place of what it has.
func (e *editor) describe(dn, value string) error {
	attr := ber.AppendString(nil, ber.OctetString, "description")
	attr = ber.AppendBytes(attr, ber.Set, ber.AppendString(nil, ber.OctetString, value))
	mod := ber.AppendInt(nil, ber.Enumerated, 2)
	mod = ber.AppendBytes(mod, ber.Sequence, attr)
	body := ber.AppendString(nil, ber.OctetString, dn)
	body = ber.AppendBytes(body, ber.Sequence, ber.AppendBytes(nil, ber.Sequence, mod))
	if err := e.request(ber.Application(6), body); err != nil {
		return fmt.Errorf("change of %q: %w", dn, err)
	}
	return nil
}

// request sends one and takes its answer, which has to be success.
func (e *editor) request(tag ber.Tag, body []byte) error {
	e.last++
	m := ber.AppendInt(nil, ber.Integer, e.last)
	m = ber.AppendBytes(m, tag, body)
	if err := e.nc.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := e.nc.Write(ber.AppendBytes(nil, ber.Sequence, m)); err != nil {
		return err
	}
	frame, err := nextFrame(e.in)
	if err != nil {
		return err
	}
	outer := ber.NewReader(frame)
	r, err := outer.Enter(ber.Sequence)
	if err != nil {
		return err
	}
	if _, err := r.Read(ber.Integer); err != nil {
		return err
	}
	op, err := r.Enter(r.Peek())
	if err != nil {
		return err
	}
	code, err := op.Int(ber.Enumerated)
	if err == nil && code != 0 {
		err = fmt.Errorf("the provider answers %d", code)
	}
	if _, dropped := e.in.Discard(len(frame)); dropped != nil {
		return dropped
	}
	return err
}

const (
	// busyChanges is how many changes a second are made where searches come beside them,
	// on so many connections.
	busyChanges, busyEditors = 1000, 8
)

// keepChanging makes busyChanges changes a second at the provider, as far as it
// keeps up, until stop is called. made counts them.
func (b *bench) keepChanging(ctx context.Context) (made *atomic.Int64, stop func() error, err error) {
	made = &atomic.Int64{}
	ctx, cancel := context.WithCancel(ctx)
	errs := make([]error, busyEditors)
	var editing sync.WaitGroup
	stop = func() error {
		cancel()
		editing.Wait()
		return errors.Join(errs...)
	}
	for i := range busyEditors {
		e, err := edit(b.provider)
		if err != nil {
			return nil, nil, errors.Join(err, stop())
		}
		editing.Go(func() {
			defer e.nc.Close()
			tick := time.NewTicker(time.Second * busyEditors / busyChanges)
			defer tick.Stop()
			for n := i; ; n += busyEditors { // each makes one at least
				dn := b.content.rdns(n%b.content.people) + "," + suffix
				if errs[i] = e.describe(dn, fmt.Sprintf("busy %d in round %d of %s", n, b.round, b.row)); errs[i] != nil {
					return
				}
				made.Add(1)
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return made, stop, nil
}

// editing keeps the provider changing.
func editing(ctx context.Context, b *bench, _ side) (c changing, err error) {
	made, stop, err := b.keepChanging(ctx)
	return changing{count: func() (int64, error) { return made.Load(), nil }, source: b.provider.process, stop: stop}, err
}

// change makes changes at the provider, one after the other: a description each.
func (b *bench) change(n int, what func(i int) (dn, value string)) error {
	e, err := edit(b.provider)
	if err != nil {
		return err
	}
	defer e.nc.Close()
	for i := range n {
		if err := e.describe(what(i)); err != nil {
			return err
		}
	}
	return nil
}
