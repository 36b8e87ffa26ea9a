package engine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"shaft/pkg/queue"
	"shaft/pkg/store"
)

// What a start does with records that do not belong together, because some are lost in both of the store's copies: what
// can be known is put in its place, what cannot is named, and everything else is served.

// maxLost bounds how many lines an operator is told of it; the log has all of them.
const maxLost = 20

// lost tells of something that was decided and is not stored any more.
func (e *Engine) lost(format string, args ...any) {
	words := fmt.Sprintf(format, args...)
	e.log.Error("stored records are lost: " + words)
	if e.untold++; e.untold <= maxLost {
		e.damage = append(e.damage, words)
	}
}

// damaged sums up what the start found damaged, in words.
func (e *Engine) damaged() []string {
	if more := e.untold - maxLost; more > 0 {
		e.damage = append(e.damage, fmt.Sprintf("and %d more of the kind, which the log has", more))
	}
	return slices.Concat(e.store.Mended(), e.damage, e.damagedClaims())
}

// mendState is loadState of a start: records that do not agree are made to.
func (e *Engine) mendState() error {
	err := e.loadState()
	if err == nil {
		err = e.missing()
	}
	if err == nil {
		told, err := e.tellStrangers()
		if err != nil {
			return err
		}
		return e.mend(told)
	}
	if !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	e.log.Error("stored queues and subscriptions do not agree: they are made to", "error", err)
	var unread []string
	if err := e.loadSubscriptions(func(name string, err error) error {
		unread = append(unread, name)
		e.lost("the subscription %s cannot be read: %s", strings.TrimPrefix(name, recordSubscription), err)
		return nil
	}); err != nil {
		return err
	}
	records, err := e.queueRecords()
	if err != nil {
		return err
	}
	known, err := e.known()
	if err != nil {
		return err
	}
	s, told, err := queue.Mend(records, known)
	if errors.Is(err, queue.ErrNewer) {
		return newer(err)
	}
	for _, words := range told {
		e.lost("%s", words)
	}
	if err != nil {
		return notWhole("stored queues: %w", err)
	}
	e.state = s
	strangers, err := e.tellStrangers()
	if err != nil {
		return err
	}
	mended := append(e.mendRecords(records), strangers...)
	for _, name := range unread {
		if e.subs[strings.TrimPrefix(name, recordSubscription)] == nil {
			mended = append(mended, store.Record{Name: name}) // nothing else knows it
		}
	}
	return e.mend(mended)
}

// mend has records stored that a start has mended. With no room for them on the disk they wait in memory.
func (e *Engine) mend(records []store.Record) error {
	e.mended = records
	err := e.writeMended()
	if errors.Is(err, store.ErrFull) {
		e.log.Error("what was mended of queues and subscriptions is not written yet", "records", len(records), "error", err)
		return nil
	}
	return err
}

// writeMended writes what waits, ahead of any commit, so that none is made to records that do not agree. The beat is
// the latest one that does it.
func (e *Engine) writeMended() error {
	if len(e.mended) == 0 {
		return nil
	}
	records := e.mended
	e.mended = nil
	err := e.writeRecords(records)
	if err != nil {
		e.mended = records
	}
	return err
}

// records are the store's, with what was mended and waits in place of what is there.
func (e *Engine) records(prefix string, fn func(name string, value []byte) error) error {
	waits := map[string][]byte{}
	for _, r := range e.mended {
		if strings.HasPrefix(r.Name, prefix) {
			waits[r.Name] = r.Value
		}
	}
	err := e.store.Records(prefix, func(name string, value []byte) error {
		if _, there := waits[name]; there {
			return nil
		}
		return fn(name, value)
	})
	for _, name := range slices.Sorted(maps.Keys(waits)) {
		if err == nil && waits[name] != nil {
			err = fn(name, waits[name])
		}
	}
	return err
}

// missing says what is not there of what belongs together. A plan that was cut off has its reasons.
func (e *Engine) missing() error {
	for id, c := range e.state.Claims {
		if e.subs[c.Subscription] == nil {
			return notWhole("claim %s has no subscription", id)
		}
	}
	for id := range e.state.Lists {
		if e.subs[id] == nil {
			return notWhole("list %s has no subscription", id)
		}
	}
	if next := e.nextNumber(); e.state.Next < next {
		return notWhole("the next number is %d, and there is content up to %d", e.state.Next, next-1)
	}
	planned := false
	err := e.store.Records(recordPlanBegun, func(string, []byte) error { planned = true; return nil })
	if planned || err != nil {
		return err
	}
	for id := range e.subs {
		if !e.exists(id) {
			return notWhole("subscription %s has no claim and no list", id)
		}
	}
	return nil
}

// known is what there is besides the queues' records.
func (e *Engine) known() (queue.Known, error) {
	k := queue.Known{
		BaseNorm: e.o.BaseDN.Norm(), BaseText: e.o.BaseDN.String(), Trees: map[string]queue.FoundName{},
		Content: map[uint32]string{}, Shown: map[uint32]bool{}, From: e.takenFrom, Next: e.nextNumber(),
	}
	for id, s := range e.subs {
		if s.Kind == KindList {
			k.Lists = append(k.Lists, id)
		} else if name, err := e.localName(s.Name); err == nil {
			k.Trees[id] = queue.FoundName{Name: name.String(), Norm: name.Norm()}
		}
	}
	for _, c := range e.store.Claims() {
		if c.ID != 0 && c.Generation > 0 {
			var from claim
			k.Content[c.ID] = ""
			if err := from.setOrigin(c.Server); err == nil {
				k.Content[c.ID] = from.taken.Sum
			}
			k.Shown[c.ID] = true
		}
	}
	err := e.store.Records(recordStranger, func(name string, _ []byte) error {
		if n, err := strconv.ParseUint(strings.TrimPrefix(name, recordStranger), 10, 32); err == nil {
			delete(k.Content, uint32(n)) // it was nobody's before
		}
		return nil
	})
	if err != nil {
		return k, err
	}
	for _, prefix := range []string{recordUnserved, recordShown} {
		err := e.store.Records(prefix, func(name string, value []byte) error {
			n, err := strconv.ParseUint(strings.TrimPrefix(name, prefix), 10, 32)
			if err == nil && (prefix == recordUnserved || len(value) == 0) {
				delete(k.Shown, uint32(n))
			}
			return nil
		})
		if err != nil {
			return k, err
		}
	}
	return k, nil
}

// takenFrom says where a claim's content is taken from, as its origin does; "" where nobody knows.
func (e *Engine) takenFrom(c *queue.Claim) string {
	sub := e.subs[c.Subscription]
	if sub == nil || sub.Lost {
		return ""
	}
	src := contentSource(sub, c)
	return originOf(&src, sub.NoDNRewrite).Sum
}

// mendRecords are those that are others now: of the queues, subscriptions in the place of lost ones, and the
// cookies of lists, which are all searched in full.
func (e *Engine) mendRecords(were map[string][]byte) (records []store.Record) {
	are := queue.Records(e.state)
	for _, name := range slices.Sorted(maps.Keys(were)) {
		if are[name] == nil {
			records = append(records, store.Record{Name: recordQueue + name})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(are)) {
		if !bytes.Equal(are[name], were[name]) {
			records = append(records, store.Record{Name: recordQueue + name, Value: are[name]})
		}
	}
	stand := func(s *Subscription) {
		if e.subs[s.ID] != nil {
			return
		}
		e.lost("the subscription %s is lost; %s", s.ID, lostWords(s.ID))
		e.subs[s.ID] = s
		records = append(records, jsonRecord(recordSubscription+s.ID, s))
	}
	for _, id := range slices.Sorted(maps.Keys(e.state.Lists)) {
		records = append(records, store.Record{Name: recordListCookie + id})
		stand(&Subscription{ID: id, Kind: KindList, Lost: true})
	}
	for _, id := range slices.Sorted(maps.Keys(e.state.Claims)) {
		if c := e.state.Claims[id]; c.Entry == "" {
			stand(&Subscription{ID: c.Subscription, Kind: KindTree, Name: c.Name, Lost: true})
		}
	}
	return records
}

// lostWords says what to do about a lost subscription: why its link is down.
func lostWords(id string) string {
	return fmt.Sprintf("it was lost to damage of the store, and its content is served as it was last: enter its source again with "+
		"`shaft subscription set %s url=URL name=NAME`, or `shaft apply` of the last export, or remove it", id)
}

// strangers are the numbers of content that no claim has, as when damage took its claim and its subscription, and that no
// start has told yet. The content stays in the store, where nothing serves it: it may be all that is left of it.
func (e *Engine) strangers() (numbers []uint32, err error) {
	had := map[uint32]bool{0: true}
	for _, c := range e.state.Claims {
		had[c.Number] = true
	}
	for _, l := range e.state.Lingers {
		had[l.Number] = true
	}
	err = e.store.Records(recordStranger, func(name string, _ []byte) error {
		if n, err := strconv.ParseUint(strings.TrimPrefix(name, recordStranger), 10, 32); err == nil {
			had[uint32(n)] = true
		}
		return nil
	})
	for _, c := range e.store.Claims() {
		if !had[c.ID] && c.Generation > 0 {
			numbers = append(numbers, c.ID)
		}
	}
	return numbers, err
}

// tellStrangers names them, once. Where there are no claims but them nothing can be served.
func (e *Engine) tellStrangers() (records []store.Record, err error) {
	numbers, err := e.strangers()
	if err != nil || len(numbers) == 0 {
		return nil, err
	}
	if len(e.state.Claims) == 0 {
		return nil, notWhole("there is content of %d claims, and nothing says any more where it belongs", len(numbers))
	}
	e.lost("nothing names any more what content of %d claims belongs to (numbers %v): it stays in the store and is not served",
		len(numbers), numbers[:min(len(numbers), maxLost)])
	for _, n := range numbers {
		records = append(records, store.Record{Name: recordStranger + strconv.FormatUint(uint64(n), 10), Value: []byte("1")})
	}
	return records, nil
}

// nextNumber is above all that anything is stored under.
func (e *Engine) nextNumber() (next uint32) {
	for _, c := range e.store.Claims() {
		if c.ID < math.MaxUint32-1 {
			next = max(next, c.ID+1)
		}
	}
	return next
}
