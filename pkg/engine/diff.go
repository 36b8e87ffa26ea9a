package engine

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/tree"
)

// Difference is what a switch would change in what is served (R29).
type Difference struct {
	DN      string            `json:"dn"`
	Head    queue.ClaimID     `json:"head"`
	Claim   queue.ClaimID     `json:"claim"`
	Added   int               `json:"added"` // entries
	Changed int               `json:"changed"`
	Removed int               `json:"removed"`
	Same    int               `json:"same"`
	Entries []EntryDifference `json:"entries,omitempty"` // by DN, parents first; at most MaxDifferences
	More    int               `json:"more,omitempty"`    // that Entries leaves out
	Task    uint64            `json:"task,omitempty"`
}

// MaxDifferences is how many entries a Difference names.
const MaxDifferences = 1000

// EntryDifference is one entry that differs.
type EntryDifference struct {
	DN         string                `json:"dn"`
	What       string                `json:"what"`                 // "added", "changed" or "removed"
	Attributes []AttributeDifference `json:"attributes,omitempty"` // of a changed one
}

// AttributeDifference is an attribute whose values differ. Values that are no text
// are given in base64, behind "base64:", as are those that begin so.
type AttributeDifference struct {
	Name    string   `json:"name"`
	Removed []string `json:"removed,omitempty"` // values that only the head has
	Added   []string `json:"added,omitempty"`   // that only the claim has
}

// QueueDiff fetches a waiting claim's full content aside and compares it with what the
// name dn shows (R29). Nothing that is served changes.
func (e *Engine) QueueDiff(ctx context.Context, dn string, claim queue.ClaimID) (out *Difference, err error) {
	name, err := e.localName(dn)
	if err != nil {
		return nil, err
	}
	id, err := e.command(ctx, "queue diff", name.String(), false, func(t *task) error {
		if _, err := e.switchPlan(ctx, name, claim, 0); err != nil {
			return err
		}
		failed, err := e.aside(ctx, name, claim, t)
		if err == nil && failed != nil {
			err = &queue.Refusal{Kind: queue.KindNoContent, Reason: fmt.Sprintf("the content of %s could not be fetched: %v", claim, failed)}
		}
		if err == nil {
			out, err = e.difference(ctx, name, claim, true)
		}
		if err == nil {
			t.Outcome = fmt.Sprintf("%d entries added, %d changed, %d removed, %d the same", out.Added, out.Changed, out.Removed, out.Same)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	out.Task = id
	return out, nil
}

// difference compares what is stored of a claim with what its name shows; with detail
// it names the entries. It works on the caller's goroutine, on a version of its own.
func (e *Engine) difference(ctx context.Context, name dit.DN, claim queue.ClaimID, detail bool) (out *Difference, err error) {
	var d *differing
	doErr := e.do(ctx, func() {
		n, cl := e.state.Names[name.Norm()], e.claims[claim]
		if n == nil || cl == nil || cl.gen == 0 || !slices.Contains(n.Claims, claim) {
			err = &queue.Refusal{Kind: queue.KindStale, Reason: fmt.Sprintf("%s: %v", name, errNotWaiting)}
			return
		}
		d = &differing{
			out: &Difference{DN: n.Text, Head: n.Head(), Claim: claim}, v: e.newest, detail: detail, inner: e.innerNames(cl),
			number: cl.number, had: map[tree.ID]bool{},
		}
		if shown := e.placed[n.Norm]; shown != nil {
			d.shown = shown.number
		}
		d.conv, err = storedConverter(e.schema, cl)
	})
	if err := errors.Join(doErr, err); err != nil {
		return nil, err
	}
	err = e.store.Entries(d.number, func(it store.Item) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return d.compare(it)
	})
	if err != nil {
		return nil, err
	}
	if err := d.removed(name); err != nil {
		return nil, err
	}
	return d.done(), nil
}

// differing is a difference being made.
type differing struct {
	out           *Difference
	v             *tree.Version
	conv          *converter
	inner         []string
	number, shown uint32
	had           map[tree.ID]bool
	detail        bool
	entries       []noted
}

// noted is an entry with what orders it.
type noted struct {
	EntryDifference
	norm string
}

func (d *differing) compare(it store.Item) (err error) {
	defer unreadable(&err)
	rec, err := decodeRecord(it.Value)
	if err == nil {
		err = d.conv.restore(rec)
	}
	if err != nil || hiddenBy(d.inner, d.conv.norm) {
		return nil // what is malformed is fetched again before it is shown
	}
	at, _ := d.v.Find(string(d.conv.norm))
	if at == 0 || d.shown == 0 || d.v.Row(at).Claim != d.shown {
		d.out.Added++
		d.note("added", d.conv.text, string(d.conv.norm), nil)
		return nil
	}
	d.had[at] = true
	old := d.v.Entry(at)
	if same, _ := d.conv.serves(old); same {
		d.out.Same++
		return nil
	}
	d.out.Changed++
	if d.detail {
		d.note("changed", d.conv.text, string(d.conv.norm), d.conv.differs(old))
	}
	return nil
}

// removed notes what the name shows and the claim has not.
func (d *differing) removed(name dit.DN) (err error) {
	defer unreadable(&err)
	top, _ := d.v.Find(name.Norm())
	if top == 0 || d.shown == 0 {
		return nil
	}
	for c := d.v.Search(tree.Query{Base: top, Scope: tree.Sub}); c.Next(); {
		entry := c.Entry()
		if entry.Row().Claim == d.shown && !d.had[entry.ID()] {
			d.out.Removed++
			d.note("removed", entry.DN(), d.v.Norm(entry.ID()), nil)
		}
	}
	return nil
}

func (d *differing) note(what string, text []byte, norm string, attributes []AttributeDifference) {
	if d.detail {
		d.entries = append(d.entries, noted{EntryDifference{DN: string(text), What: what, Attributes: attributes}, norm})
		if len(d.entries) >= 4*MaxDifferences {
			d.cut()
		}
	}
}

// cut keeps the first that are to be named.
func (d *differing) cut() {
	slices.SortFunc(d.entries, func(a, b noted) int {
		return cmp.Or(strings.Count(a.norm, ",")-strings.Count(b.norm, ","), strings.Compare(a.norm, b.norm))
	})
	d.entries = d.entries[:min(len(d.entries), MaxDifferences)]
}

func (d *differing) done() *Difference {
	d.cut()
	for i := range d.entries {
		d.out.Entries = append(d.out.Entries, d.entries[i].EntryDifference)
	}
	if d.detail {
		d.out.More = d.out.Added + d.out.Changed + d.out.Removed - len(d.out.Entries)
	}
	return d.out
}

// differs lists the attributes in which the entry that the converter holds differs from what
// is served.
func (c *converter) differs(e tree.Entry) (out []AttributeDifference) {
	type values struct {
		name     string
		old, new map[string]bool
	}
	byKey := map[string]*values{}
	gather := func(run dit.Run, pick func(*values) map[string]bool) {
		c.each(run, func(_, desc, set []byte) {
			key := c.infos.Of(desc).key
			if bookkeeping[key] {
				return
			}
			if i := strings.IndexByte(string(desc), ';'); i >= 0 {
				key += strings.ToLower(string(desc[i:]))
			}
			v := byKey[key]
			if v == nil {
				v = &values{string(desc), map[string]bool{}, map[string]bool{}}
				byKey[key] = v
			}
			for into := pick(v); len(set) > 0; {
				_, value, rest, err := ber.Next(set)
				if err != nil {
					return
				}
				into[string(value)] = true
				set = rest
			}
		})
	}
	for _, runs := range [][2]dit.Run{{e.User(), c.user}, {e.Oper(), c.oper}} {
		gather(runs[0], func(v *values) map[string]bool { return v.old })
		gather(runs[1], func(v *values) map[string]bool { return v.new })
	}
	for _, v := range byKey {
		a := AttributeDifference{Name: v.name, Removed: missing(v.old, v.new), Added: missing(v.new, v.old)}
		if len(a.Removed)+len(a.Added) > 0 {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b AttributeDifference) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return out
}

// missing lists the values of one set that another lacks, as text.
func missing(of, from map[string]bool) (out []string) {
	for value := range of {
		if !from[value] {
			out = append(out, printable(value))
		}
	}
	slices.Sort(out)
	return out
}

const base64Mark = "base64:"

func printable(value string) string {
	if utf8.ValidString(value) && !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) && !strings.HasPrefix(value, base64Mark) {
		return value
	}
	return base64Mark + base64.StdEncoding.EncodeToString([]byte(value))
}
