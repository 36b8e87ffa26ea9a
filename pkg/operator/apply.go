package operator

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"shaft/pkg/engine"
)

func (c *cli) export(ctx context.Context, _ []string) error {
	var failed error
	err := show(c, func(d Document) { failed = printDocument(c.out, d) })(c.client.Export(ctx))
	return cmp.Or(err, failed)
}

func (c *cli) applyFlags(fs *flag.FlagSet) {
	fs.BoolVar(&c.prune, "prune", false, "remove the subscriptions that the file lacks")
	c.changeFlags(fs)
}

func (c *cli) apply(ctx context.Context, args []string) error {
	f, err := c.readFile(args[0])
	if err != nil {
		return err
	}
	if len(f.faults) > 0 {
		return c.allFaults(ctx, f)
	}
	out, raw, err := c.client.Apply(ctx, f.doc, c.prune, c.dry)
	var faults engine.Faults
	if errors.As(err, &faults) {
		f.add(faults)
		return f.err()
	}
	return show(c, c.printApplied)(out, raw, err)
}

// readFile reads the file of a document; paths in it are relative to its directory.
func (c *cli) readFile(name string) (*file, error) {
	in, dir := c.in, ""
	if name == "-" {
		name = "standard input"
	} else {
		opened, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer opened.Close()
		in, dir = opened, filepath.Dir(name)
	}
	text, err := io.ReadAll(io.LimitReader(in, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return readDocument(name, dir, text), nil
}

// allFaults asks the daemon what else is wrong with what is sound here, so that
// all faults come at once. Nothing is changed by that.
func (c *cli) allFaults(ctx context.Context, f *file) error {
	if len(f.doc.Subscriptions) > 0 {
		var more engine.Faults
		doc := f.doc
		doc.Decisions = nil // they may be about what is left out
		if _, _, err := c.client.Apply(ctx, doc, false, true); errors.As(err, &more) {
			f.add(more)
		}
	}
	return f.err()
}

func (c *cli) printApplied(a engine.Applied) {
	for _, group := range []struct {
		words string
		ids   []string
	}{{"added", a.Added}, {"changed", a.Changed}, {"removed", a.Removed}} {
		if len(group.ids) == 0 {
			continue
		}
		shown := group.ids[:min(len(group.ids), maxShown)]
		text := strings.Join(shown, ", ")
		if rest := len(group.ids) - len(shown); rest > 0 {
			text += fmt.Sprintf(" and %d more", rest)
		}
		c.line("%d %s: %s", len(group.ids), would(a.DryRun, group.words), text)
	}
	if done := len(a.Added) + len(a.Changed) + len(a.Removed) + a.Decisions; done == 0 || len(a.Unchanged) > 0 {
		c.line("%d unchanged", len(a.Unchanged))
	}
	if a.Decisions > 0 {
		c.line("%s on claims of lists %s", plural(a.Decisions, "decision", "decisions"), would(a.DryRun, "carried out"))
	}
	c.printWarnings(a.Warnings)
}
