package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"shaft/pkg/operator"
)

// Shaft's names: the provider's suffix is served as copyDN.
const (
	baseDN = "o=shaft"
	copyDN = "dc=bench," + baseDN
)

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
	profiles *profiles // nil: none
}

// startShaft starts a daemon; it may not answer yet.
func (b *bench) startShaft() (*shaft, error) {
	dir, err := b.tempDir("shaft")
	if err != nil {
		return nil, err
	}
	s := &shaft{dir: dir}
	if s.address, err = freeAddress(); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "shaft.yaml")
	text := fmt.Sprintf("base_dn: %q\ndata_dir: data\nlisten: [ %q ]\nchange_log: %d\n", baseDN, "ldap://"+s.address, shortLog)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s.client = operator.NewClient(filepath.Join(s.data(), "control.sock"))
	if b.o.profiles == "" {
		s.process, err = startProcess(dir, nil, b.shaft, "serve", "--config", config)
		return s, err
	}
	s.profiles = &profiles{from: dir, to: b.o.profiles}
	s.process, err = startProcess(dir, []string{daemonConfig + "=" + config, daemonProfiles + "=" + dir}, b.shaft)
	return s, err
}

func (s *shaft) data() string { return filepath.Join(s.dir, "data") }

// subscribe adds the subscription to the provider, as soon as the control socket
// answers.
func (s *shaft) subscribe(ctx context.Context, provider string) error {
	err := s.await("its control socket answers", patience, func() (bool, error) {
		_, _, err := s.client.Status(ctx)
		return err == nil, err
	})
	if err != nil {
		return err
	}
	_, _, err = s.client.Add(ctx, operator.Request{ID: "bench", Name: copyDN, URL: "ldap://" + provider + "/" + suffix}, false)
	return err
}

// awaitCopy waits until the name is live with all entries: then they are on disk.
func (s *shaft) awaitCopy(ctx context.Context, entries int) error {
	return s.await("the name is live", refreshLimit, func() (bool, error) {
		names, _, err := s.client.Names(ctx)
		if err != nil || len(names) != 1 || names[0].Head.State != "live" {
			return false, err
		}
		if names[0].Entries != entries {
			return false, fmt.Errorf("%d entries, want %d", names[0].Entries, entries)
		}
		return true, nil
	})
}
