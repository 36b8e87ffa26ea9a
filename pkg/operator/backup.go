package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const (
	// backupStall is how long the reader of a backup may take none of it, and
	// backupTime how long it may take in all. Meanwhile nothing that the backup holds is
	// taken off the disk, though it was replaced.
	backupStall = 30 * time.Second
	backupTime  = time.Hour
)

// errSlow ends a backup whose reader takes too long.
var errSlow = fmt.Errorf("a backup is to be read within %v", backupTime)

// backup answers with a backup, one at a time. What fails once it has begun cuts it
// off, and the connection with it.
func (a *api) backup(c *call, w http.ResponseWriter) error {
	if !a.backups.TryLock() {
		return errBackingUp
	}
	defer a.backups.Unlock()
	ctx, cancel := context.WithTimeoutCause(c.Context(), backupTime, errSlow)
	defer cancel()
	out := &download{w: w, control: http.NewResponseController(w)}
	done, err := a.engine.Backup(ctx, out, a.version)
	who := peerOf(c.Context())
	switch {
	case err == nil:
		a.log.Info("backup taken", "who", who, "records", done.Records, "bytes", done.Bytes, "left_out", done.LeftOut)
		_ = out.control.SetWriteDeadline(time.Time{}) // for the next request
	case out.begun:
		a.log.Error("backup cut off", "who", who, "error", err)
		panic(http.ErrAbortHandler) // net/http's way to cut an answer off
	}
	return err
}

// errBackingUp is a refusal: the disk is kept for one snapshot at a time.
var errBackingUp = errors.New("another backup is being taken; try again when it is done")

// download writes a file to a client that has to keep reading.
type download struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func (d *download) Write(b []byte) (int, error) {
	if !d.begun {
		d.begun = true
		d.w.Header().Set("Content-Type", fileType)
		d.w.Header().Set("Content-Disposition", `attachment; filename="shaft.backup"`)
	}
	if err := d.control.SetWriteDeadline(time.Now().Add(backupStall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return d.w.Write(b)
}

// Backup writes a backup to w, and gives its length. It is whole only where there is no error.
func (c *Client) Backup(ctx context.Context, w io.Writer) (int64, error) {
	resp, err := c.send(ctx, http.MethodGet, prefix+"/backup", nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		_, err := c.read(resp, http.MethodGet)
		return 0, err
	}
	from := &remembering{r: resp.Body}
	n, err := io.Copy(w, from)
	if from.err != nil {
		err = fmt.Errorf("the backup was cut off after %d bytes: %w", n, c.failure(http.MethodGet, from.err))
	}
	return n, err
}

// remembering tells a reader's errors from those of where it is copied to.
type remembering struct {
	r   io.Reader
	err error
}

func (r *remembering) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

func (c *cli) backup(ctx context.Context, args []string) error {
	name := args[0]
	if name == "-" {
		if c.terminal {
			return errors.New("a backup is no text for a terminal: name a file, or redirect standard output")
		}
		_, err := c.client.Backup(ctx, c.out)
		return err
	}
	size, err := writeWhole(name, func(w io.Writer) (int64, error) { return c.client.Backup(ctx, w) })
	if err != nil {
		return err
	}
	if !c.json {
		c.line("backup of %d bytes in %s", size, name)
		return nil
	}
	return json.NewEncoder(c.out).Encode(object{"file": name, "bytes": size})
}

// writeWhole writes a file with mode 0600 that has its name only once it is whole and
// on disk; what had the name before is replaced then.
func writeWhole(name string, fill func(io.Writer) (int64, error)) (size int64, err error) {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, filepath.Base(name)+".*.part")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	size, err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return 0, err
	}
	if err = os.Rename(f.Name(), name); err != nil {
		return 0, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	return size, errors.Join(d.Sync(), d.Close())
}
