package daemon

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/store"
)

// Restore makes the store of a configuration from a backup, while no daemon runs on
// it, and says on out what it did; name "-" reads in. force moves a store that is
// there aside; a dry run builds and checks all of it, and leaves what is there. See store.Restore for what a failure leaves: what was there.
func Restore(cfg *Config, name string, force, dryRun bool, in io.Reader, out io.Writer, log *slog.Logger) error {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	} else {
		name = "standard input"
	}
	r, err := store.Restore(cfg.DataDir, in, store.RestoreOptions{Log: log, Force: force, DryRun: dryRun, Accept: cfg.sameBase})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	done := "restored"
	if dryRun {
		done = "would be restored"
	}
	fmt.Fprintf(out, "%s %s: %s as of %s, by Shaft %s; %d claims, %d entries\n", cfg.DataDir, done, baseWords(r.Header.BaseDN),
		r.Header.Time.Format(time.RFC3339), r.Header.Version, r.Claims, r.Entries)
	switch {
	case r.Aside != "" && dryRun:
		fmt.Fprintln(out, "what is there would be moved aside")
	case r.Aside != "":
		fmt.Fprintf(out, "what was there is in %s\n", r.Aside)
	}
	if r.LeftOut > 0 {
		fmt.Fprintf(out, "%d records could not be read when the backup was made, and are missing\n", r.LeftOut)
	}
	if r.Damaged > 0 {
		fmt.Fprintf(out, "%d claims are not whole: the daemon loads them again in full\n", r.Damaged)
	}
	if dryRun {
		return nil
	}
	_, err = fmt.Fprintf(out, "changes go on from %s; whoever follows gets everything again\n", r.CSN.Append(nil, cfg.ServerID))
	return err
}

func baseWords(dn string) string {
	if dn == "" {
		return "no base DN"
	}
	return dn
}

// sameBase refuses the backup of another tree, with which the daemon would not start.
func (cfg *Config) sameBase(h store.BackupHeader) error {
	if h.BaseDN == "" {
		return nil
	}
	dn, err := dit.ParseDN(cfg.Schema, h.BaseDN)
	if err != nil {
		return fmt.Errorf("the backup's base DN: %w", err)
	}
	if !dn.Equal(cfg.BaseDN) {
		return fmt.Errorf("the backup is of the base DN %q, the configuration says %q: set base_dn to what the backup has", h.BaseDN, cfg.BaseDN)
	}
	return nil
}
