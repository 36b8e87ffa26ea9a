package engine

import (
	"fmt"
	"unicode/utf8"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/rewrite"
	"shaft/pkg/syncrepl"
)

func parseTemplate(text string) (*rewrite.Template, error) { return rewrite.ParseTemplate(text) }

// expander makes names of what a list finds. It belongs to one session's goroutine.
type expander struct {
	e        *Engine
	list     string
	base     dit.DN // of the search
	template *rewrite.Template
}

func (e *Engine) expander(sub *Subscription) (*expander, error) {
	t, _, err := e.listTemplate(sub.Name)
	if err != nil {
		return nil, err
	}
	base, err := dit.ParseDN(e.schema, sub.Source.Base)
	if err != nil {
		return nil, err
	}
	return &expander{e: e, list: sub.ID, base: base, template: t}, nil
}

// found says what a list found, with the names that the template makes of it
// and, in words, why others are not made (R20).
func (x *expander) found(in syncrepl.Entry) (queue.EntryFound, error) {
	out := queue.EntryFound{List: x.list, Entry: memberID(in.UUID), DN: string(in.DN)}
	if len(in.DN) > maxDN {
		return out, fmt.Errorf("an entry's DN has %d bytes; at most %d are taken", len(in.DN), maxDN)
	}
	dn, err := dit.ParseDN(x.e.schema, out.DN)
	if err != nil {
		return out, fmt.Errorf("an entry's DN cannot be parsed: %w", err)
	}
	if !dn.Under(x.base) {
		return out, fmt.Errorf("entry %.200q lies outside the base %q", out.DN, x.base)
	}
	if dn.IsEmpty() {
		return out, fmt.Errorf("the list finds the root DSE, which cannot be followed")
	}
	if !utf8.ValidString(out.DN) {
		return out, fmt.Errorf("the DN %.200q of a found entry is not UTF-8", out.DN)
	}
	names, err := x.template.Expand(x.e.schema, rewrite.Source{DN: dn, User: dit.Run(in.Attrs)})
	if err != nil {
		out.Problems = []string{problem(err)}
		return out, nil
	}
	for _, text := range names {
		name, err := x.place(text)
		if err != nil {
			out.Problems = append(out.Problems, problem(fmt.Errorf("name %.200q: %w", text, err)))
			continue
		}
		out.Names = append(out.Names, queue.FoundName{Name: name.String(), Norm: name.Norm()})
	}
	return out, nil
}

func (x *expander) place(text string) (dit.DN, error) {
	if len(text) > maxName {
		return dit.DN{}, fmt.Errorf("it has %d bytes; at most %d are allowed", len(text), maxName)
	}
	dn, err := dit.ParseDN(x.e.schema, text)
	if err != nil {
		return dit.DN{}, err
	}
	return x.e.below(dn, text)
}

func problem(err error) string { return clip(err.Error()) }
