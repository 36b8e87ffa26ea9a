package engine

import (
	"context"
	"errors"
	"io"

	"shaft/pkg/dit"
	"shaft/pkg/store"
)

// BackedUp is what a backup holds.
type BackedUp = store.BackedUp

// Backup writes the store as of the last commit, by which all that it holds belongs
// together; see store.Backup. version is this Shaft's. Nothing waits for it, and it
// may be called by anyone at any time.
func (e *Engine) Backup(ctx context.Context, w io.Writer, version string) (BackedUp, error) {
	h := store.BackupHeader{Version: version, Time: e.o.Now().UTC(), BaseDN: e.o.BaseDN.String()}
	out, err := e.store.Backup(ctx, w, h, e.o.ServerID)
	if errors.Is(err, store.ErrClosed) {
		return out, ErrClosed
	}
	return out, err
}

// Redated is the CSN that no entry is older than since the store was restored; 0
// when it never was. What was told before, and after the backup, nobody knows.
func (e *Engine) Redated() dit.CSN { return e.store.Redated() }
