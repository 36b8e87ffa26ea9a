package engine

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"shaft/pkg/dit"
	"shaft/pkg/store"
)

// Numbered tells a name or a subscription from all others, over restarts.
type Numbered struct {
	// Number is drawn from one count for both, and never given to another; what went and
	// returns has the one that it had.
	Number uint32 `json:"number"`
	// Label is made of its first spelling: of a name the DN below the base DN. It is ASCII
	// without quotes, backslashes, braces and dollar signs, at most maxLabel bytes, and
	// as lasting as the number.
	Label string `json:"label"`
}

const (
	recordNumber     = "number/"    // and numberedName or numberedSource, and what is numbered: a Numbered
	recordNumberLast = "numberlast" // the number that was given last: a count, see countOf

	numberedName   = "name/"   // and its normal form
	numberedSource = "source/" // and the subscription's id
)

const (
	// maxNumbers bounds how many are remembered, those of what is gone too: a list whose
	// names come and go shall not fill the memory. Of more, those that are gone and
	// have the lowest numbers would get others, should they return.
	maxNumbers = 1 << 17
	// maxLabel is what fits into a key of a monitoring system beside its own words.
	maxLabel = 128
)

// numberLog has those that were given; the engine goroutine's.
type numberLog struct {
	last  uint32
	of    map[string]Numbered
	limit int // see maxNumbers
}

// loadNumbers reads those of earlier runs.
func (e *Engine) loadNumbers() error {
	e.numbers = numberLog{of: map[string]Numbered{}, limit: maxNumbers}
	err := e.store.Records(recordNumber, func(name string, value []byte) error {
		var n Numbered
		if err := json.Unmarshal(value, &n); err != nil || n.Number == 0 {
			e.log.Error("a stored number is malformed; a new one is given", "record", name, "error", err)
			return nil
		}
		e.numbers.of[strings.Clone(strings.TrimPrefix(name, recordNumber))] = n
		e.numbers.last = max(e.numbers.last, n.Number)
		return nil
	})
	if err != nil {
		return err
	}
	var instance string
	err = e.store.Records(recordNumberLast, func(_ string, value []byte) error {
		n, err := parseCount(value)
		if err != nil {
			e.log.Error("the stored count of numbers is malformed; the highest that is known counts", "error", err)
		}
		e.numbers.last, instance = max(e.numbers.last, n.last), n.instance
		return nil
	})
	e.numbers.last += e.lead(instance)
	return err
}

// countLead is how far counts skip ahead in a store that was restored: what was given after the
// backup nobody knows, and a monitor may remember it. It is more than was given in that time, and 2000
// restores do not use up 31 bits.
const countLead = 1 << 20

// count is what was given last, and in which instance of the store: "" for unknown.
type count struct {
	last     uint32
	instance string
}

// countOf gives the record of a count: in decimal, a blank, and the instance.
func (e *Engine) countOf(name string, last uint32) store.Record {
	return store.Record{Name: name, Value: fmt.Appendf(nil, "%d %s", last, e.Instance())}
}

func parseCount(value []byte) (count, error) {
	last, instance, _ := strings.Cut(string(value), " ")
	n, err := strconv.ParseUint(last, 10, 32)
	return count{uint32(n), instance}, err
}

// lead is how far a count is to skip ahead that was stored in an instance of the store.
func (e *Engine) lead(instance string) uint32 {
	if us := e.store.Instance(); us == e.store.Namespace() || us.String() == instance {
		return 0 // it was never restored, or not since
	}
	return countLead
}

// numberAll gives numbers to names and subscriptions that have none, in order.
func (e *Engine) numberAll() {
	var names, sources []string
	for norm := range e.state.Names {
		if _, known := e.numbers.of[numberedName+norm]; !known {
			names = append(names, norm)
		}
	}
	for id := range e.subs {
		if _, known := e.numbers.of[numberedSource+id]; !known {
			sources = append(sources, id)
		}
	}
	if e.failed != nil || len(names)+len(sources) == 0 {
		return
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(strings.Compare(e.state.Names[a].Text, e.state.Names[b].Text), strings.Compare(a, b))
	})
	slices.Sort(sources)
	last, given := e.numbers.last, map[string]Numbered{}
	records := []store.Record{{}} // the count goes ahead of the numbers: none is ever given twice
	give := func(key, label string) {
		last++
		given[key] = Numbered{last, label}
		records = append(records, jsonRecord(recordNumber+key, given[key]))
	}
	for _, id := range sources {
		give(numberedSource+id, labelOf(id))
	}
	for _, norm := range names {
		give(numberedName+norm, e.nameLabel(e.state.Names[norm].Text))
	}
	records[0] = e.countOf(recordNumberLast, last)
	gone := e.surplusNumbers(len(given))
	for _, key := range gone {
		records = append(records, store.Record{Name: recordNumber + key})
	}
	if err := e.writeRecords(records); err != nil {
		e.log.Error("numbers of names not stored; a monitor does not see these names", "names", len(names), "error", err)
		return
	}
	e.numbers.last = last
	for _, key := range gone {
		delete(e.numbers.of, key)
	}
	maps.Copy(e.numbers.of, given)
}

// surplusNumbers lists those that are to be forgotten, to make room for further ones.
func (e *Engine) surplusNumbers(more int) (gone []string) {
	excess := len(e.numbers.of) + more - e.numbers.limit
	if excess <= 0 {
		return nil
	}
	for key := range e.numbers.of {
		norm, isName := strings.CutPrefix(key, numberedName)
		if isName && e.state.Names[norm] == nil || !isName && e.subs[strings.TrimPrefix(key, numberedSource)] == nil {
			gone = append(gone, key)
		}
	}
	slices.SortFunc(gone, func(a, b string) int { return cmp.Compare(e.numbers.of[a].Number, e.numbers.of[b].Number) })
	excess += e.numbers.limit / 8 // so that it is rare
	return gone[:min(excess, len(gone))]
}

// nameLabel is a name's label.
func (e *Engine) nameLabel(text string) string {
	if dn, err := dit.ParseDN(e.schema, text); err == nil {
		if rel, under := dn.Rel(e.o.BaseDN); under && !rel.IsEmpty() {
			text = rel.String()
		}
	}
	return labelOf(text)
}

// labelOf makes a label: what is no letter, digit, space or one of -._=,+:@ becomes % and two
// hexadecimal digits. A long one is cut, and ends with ~ and a digest of the whole.
func labelOf(text string) string {
	var b strings.Builder
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(" -._=,+:@", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() <= maxLabel {
		return b.String()
	}
	sum := sha256.Sum256([]byte(text))
	tail := "~" + hex.EncodeToString(sum[:8])
	cut := maxLabel - len(tail)
	for i := max(0, cut-2); i < cut; i++ { // no part of an escape
		if b.String()[i] == '%' {
			cut = i
		}
	}
	return b.String()[:cut] + tail
}
