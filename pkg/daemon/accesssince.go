package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"shaft/pkg/access"
	"shaft/pkg/dit"
)

// accessFile is in the data directory: which access rules hold, by which schema, and since when,
// so that a follower's cookie from before is known for one after a restart too. A schema has its say in what rules and filters mean.
const accessFile = "access.json"

// heldRules is what the file says.
type heldRules struct {
	Rules  string  `json:"rules"`  // their digest; "" for none
	Schema string  `json:"schema"` // that of the configured files; "" for none
	Since  dit.CSN `json:"since"`  // the newest change when they came to hold
}

// accessSince tells since when these rules hold: what now gives where they are others than
// the file says, or where that is of changes newer than the newest. Where it cannot be read or written they
// hold since then too, which costs those who come back with a cookie a full refresh, and is safe.
func (d *Daemon) accessSince(dir string, rules []access.Rule, newest dit.CSN, now func() dit.CSN) dit.CSN {
	path := filepath.Join(dir, accessFile)
	text, err := os.ReadFile(path)
	var was heldRules
	if err == nil {
		err = json.Unmarshal(text, &was)
	}
	switch {
	case err == nil && was.Rules == digest(rules) && was.Schema == d.cfg.schemaSum && was.Since <= newest:
		return was.Since
	case errors.Is(err, fs.ErrNotExist) && len(rules) == 0 && d.cfg.schemaSum == "":
		return 0
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		d.log.Warn("it is not known since when the access rules hold; followers get everything anew", "error", err)
	}
	is := heldRules{Rules: digest(rules), Schema: d.cfg.schemaSum, Since: now()}
	if text, err = json.Marshal(is); err == nil {
		err = replaceFile(path, append(text, '\n'))
	}
	if err != nil {
		d.log.Error("it cannot be kept since when the access rules hold; after a restart followers get everything anew", "error", err)
	}
	return is.Since
}

// advance gives the content a newer CSN, by which followers see that the rules are others.
func (d *Daemon) advance() (dit.CSN, error) {
	ctx, cancel := context.WithTimeout(context.Background(), advanceTime)
	defer cancel()
	return d.engine.Advance(ctx)
}

// advanceTime is how long a change of rules waits for the writer: ample for a
// commit, and a reload comes to its end though the disk hangs.
const advanceTime = 10 * time.Second

// heldSince is what accessSince needs at a start.
func (d *Daemon) heldSince() dit.CSN {
	csn, err := d.advance()
	if err != nil {
		d.log.Error("no CSN can be taken for the access rules; a slapd that was away may keep what they hide until something changes", "error", err)
		return d.engine.Version().CSN()
	}
	return csn - 1
}

func digest(rules []access.Rule) string {
	if len(rules) == 0 {
		return ""
	}
	return sumOf(rules)
}

func sumOf(what any) string {
	text, _ := json.Marshal(what) // strings and numbers
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// replaceFile writes a file whole or not at all.
func replaceFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
