package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"shaft/pkg/operator"
)

// Shaft's names: the provider's suffix is served as copyDN.
const (
	baseDN = "o=shaft"
	copyDN = "dc=bench," + baseDN
)

// copyOf is where a provider's content is served by Shaft.
func copyOf(p *slapd) string {
	rdn, _, _ := strings.Cut(p.content.suffix(), ",")
	return rdn + "," + baseDN
}

// buildShaft gives the program to measure. Where profiles are wanted that is this
// one, which then runs the daemon inside (profile.go).
func buildShaft(ctx context.Context, dir, profiles string) (string, error) {
	if profiles != "" {
		return os.Executable()
	}
	path := filepath.Join(dir, "shaft")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "shaft/cmd/shaft").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build Shaft: %w\n%s", err, out)
	}
	return path, nil
}

// shaft is one running daemon with an empty data directory.
type shaft struct {
	*process
	dir      string
	address  string
	client   *operator.Client
	config   string
	profiles *profiles // nil: none
}

// startShaft starts a daemon with more lines in its configuration and more
// listeners; it may not answer yet.
func (b *bench) startShaft(more string, listeners ...string) (*shaft, error) {
	dir, err := b.tempDir("shaft")
	if err != nil {
		return nil, err
	}
	s := &shaft{dir: dir}
	if s.address, err = freeAddress(); err != nil {
		return nil, err
	}
	s.config = filepath.Join(dir, "shaft.yaml")
	text := fmt.Sprintf("base_dn: %q\ndata_dir: data\nlisten: [ %s ]\n%s", baseDN, quoted(append(listeners, "ldap://"+s.address)), more)
	if b.o.memory != "" {
		text += "memory: " + b.o.memory + "\n"
	}
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s.client = operator.NewClient(filepath.Join(s.data(), "control.sock"))
	return s, s.start(b)
}

// start runs the daemon on the data that is there; what it collects of garbage stands in
// its log.
func (s *shaft) start(b *bench) (err error) {
	env := []string{traceStops}
	if b.o.profiles == "" {
		s.process, err = startProcess(s.dir, env, b.shaft, "serve", "--config", s.config)
		return err
	}
	from, err := os.MkdirTemp(s.dir, "profiles")
	if err != nil {
		return err
	}
	s.profiles = &profiles{from: from, to: b.o.profiles}
	s.process, err = startProcess(s.dir, append(env, daemonConfig+"="+s.config, daemonProfiles+"="+from), b.shaft)
	return err
}

// quoted makes a list for YAML.
func quoted(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strconv.Quote(s)
	}
	return strings.Join(out, ", ")
}

func (s *shaft) data() string { return filepath.Join(s.dir, "data") }

// subscribe adds the subscription to a provider, as soon as the control socket
// answers.
func (s *shaft) subscribe(ctx context.Context, p *slapd) error {
	err := s.await("its control socket answers", patience, func() (bool, error) {
		_, _, err := s.client.Status(ctx)
		return err == nil, err
	})
	if err != nil {
		return err
	}
	rdn, _, _ := strings.Cut(copyOf(p), ",")
	_, _, err = s.client.Add(ctx, operator.Request{ID: strings.TrimPrefix(rdn, "dc="), Name: copyOf(p), URL: "ldap://" + p.address + "/" + p.content.suffix()}, false)
	return err
}

// awaitCopy waits until all names are live, with all entries: then they are on disk.
func (s *shaft) awaitCopy(ctx context.Context, copies, entries int) error {
	return s.await("the names are live", refreshLimit, func() (bool, error) {
		names, _, err := s.client.Names(ctx)
		if err != nil || len(names) != copies {
			return false, err
		}
		have := 0
		for _, n := range names {
			if n.Head.State != "live" {
				return false, nil
			}
			have += n.Entries
		}
		if have != entries {
			return false, fmt.Errorf("%d entries, want %d", have, entries)
		}
		return true, nil
	})
}
