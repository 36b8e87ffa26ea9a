package operator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shaft/pkg/engine"
)

// saving is an Engine whose backup is what write does.
type saving struct {
	*fake
	write func(ctx context.Context, w io.Writer) error
}

func (s saving) Backup(ctx context.Context, w io.Writer, version string) (engine.BackedUp, error) {
	s.asked("backup", version)
	return engine.BackedUp{Records: 2, Bytes: 6}, s.write(ctx, w)
}

func pieces(text ...string) func(context.Context, io.Writer) error {
	return func(_ context.Context, w io.Writer) error {
		for _, t := range text {
			if _, err := io.WriteString(w, t); err != nil {
				return err
			}
		}
		return nil
	}
}

// A backup comes as a file, by HTTP and by the command line, which puts it under its
// name when it is whole: for the user's eyes alone, in the place of what was there.
func TestBackup(t *testing.T) {
	s := saving{story(), pieces("one", "two")}
	socket := served(t, s)
	code, header, text := raw(t, socket, "GET", "/api/v1/backup", "")
	if code != 200 || text != "onetwo" || header.Get("Content-Type") != "application/octet-stream" ||
		header.Get("Content-Disposition") != `attachment; filename="shaft.backup"` {
		t.Errorf("%d %v %q", code, header, text)
	}
	if get(document(t), "paths", "/api/v1/backup", "get", "responses", "200", "content", "application/octet-stream") == nil {
		t.Error("the document does not say that it is a file")
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "daily")
	for _, was := range []string{"", "an older one"} {
		if was != "" {
			if err := os.WriteFile(name, []byte(was), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		code, out, errs := shaft(socket, "backup", name)
		if code != ExitDone || errs != "" || out != "backup of 6 bytes in "+name+"\n" {
			t.Errorf("exit %d: %s%s", code, out, errs)
		}
		got, err := os.ReadFile(name)
		info, statErr := os.Stat(name)
		if err != nil || statErr != nil || string(got) != "onetwo" || info.Mode() != 0o600 {
			t.Errorf("%q, mode %v, %v", got, info.Mode(), errors.Join(err, statErr))
		}
	}
	if code, out, _ := shaft(socket, "backup", "-o", "json", name); code != ExitDone || out != `{"bytes":6,"file":"`+name+`"}`+"\n" {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, out, errs := shaft(socket, "backup", "-"); code != ExitDone || out != "onetwo" || errs != "" {
		t.Errorf("exit %d: %q %s", code, out, errs)
	}
	if calls := strings.Join(s.calls, "; "); calls != strings.TrimSuffix(strings.Repeat("backup 1.2.3; ", 5), "; ") {
		t.Error(calls)
	}
	var out bytes.Buffer
	if code := Main(context.Background(), []string{"backup", "-", "--socket", socket}, Streams{Out: &out, Err: &out, Terminal: true}); code != ExitRefused || !strings.Contains(out.String(), "no text for a terminal") {
		t.Errorf("on a terminal: exit %d, %s", code, &out)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

// What fails before anything was sent is a problem; later the answer is cut off, and
// nobody takes it for whole: no file is left, and one that was there stays.
func TestBackupFails(t *testing.T) {
	broken := errors.New("record \"queue/x\": store is corrupt")
	for _, c := range []struct {
		name  string
		write func(context.Context, io.Writer) error
		words string
	}{
		{"at once", func(context.Context, io.Writer) error { return broken }, broken.Error()},
		{"stopping", func(context.Context, io.Writer) error { return engine.ErrClosed }, "the daemon is stopping"},
		{"midway", func(ctx context.Context, w io.Writer) error {
			return errors.Join(pieces("one", strings.Repeat("x", 1<<16))(ctx, w), broken)
		}, "the backup was cut off after"},
	} {
		dir := t.TempDir()
		name := filepath.Join(dir, "daily")
		if err := os.WriteFile(name, []byte("an older one"), 0o600); err != nil {
			t.Fatal(err)
		}
		socket := served(t, saving{story(), c.write})
		code, _, errs := shaft(socket, "backup", name)
		if code != ExitRefused || !strings.Contains(errs, c.words) {
			t.Errorf("%s: exit %d, %s", c.name, code, errs)
		}
		files, _ := os.ReadDir(dir)
		if got, err := os.ReadFile(name); len(files) != 1 || string(got) != "an older one" {
			t.Errorf("%s: %v, %q, %v", c.name, files, got, err)
		}
	}
	socket := served(t, saving{story(), pieces("one")})
	if code, _, errs := shaft(socket, "backup", filepath.Join(t.TempDir(), "no", "such", "place")); code != ExitRefused || !strings.Contains(errs, "no such file or directory") {
		t.Errorf("exit %d, %s", code, errs)
	}
}

// One backup is taken at a time, and one that nobody waits for any more ends.
func TestBackupsInTurn(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan error, 1)
	s := saving{story(), nil}
	s.write = func(ctx context.Context, w io.Writer) error {
		if err := pieces("one")(ctx, w); err != nil {
			return err
		}
		close(begun)
		select {
		case <-ctx.Done():
			ended <- ctx.Err()
			return ctx.Err()
		case <-time.After(30 * time.Second):
			ended <- nil
			return nil
		}
	}
	socket := served(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	got := make(chan error, 1)
	go func() { _, err := NewClient(socket).Backup(ctx, io.Discard); got <- err }()
	<-begun
	code, header, text := raw(t, socket, "GET", "/api/v1/backup", "")
	if code != http.StatusConflict || header.Get("Content-Type") != "application/problem+json" || !strings.Contains(text, "another backup is being taken") || !strings.Contains(text, `"busy"`) {
		t.Errorf("%d %s", code, text)
	}
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that was given up: %v", err)
	}
	if err := <-ended; err == nil {
		t.Error("it went on without its reader")
	}
}

// deadlines is an answer whose deadlines can be looked at.
type deadlines struct {
	http.ResponseWriter
	set []time.Time
}

func (d *deadlines) Write(b []byte) (int, error) { return len(b), nil }
func (d *deadlines) Header() http.Header         { return http.Header{} }
func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// Each piece has its own time to be taken, and none is left for the next request.
func TestBackupStalls(t *testing.T) {
	w := &deadlines{}
	begun := time.Now()
	out := &download{w: w, control: http.NewResponseController(w)}
	for range 2 {
		if _, err := out.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range w.set {
		if at.Before(begun.Add(backupStall)) || at.After(time.Now().Add(backupStall)) {
			t.Errorf("%v after the begin", at.Sub(begun))
		}
	}
	if len(w.set) != 2 {
		t.Errorf("%d deadlines", len(w.set))
	}
}
