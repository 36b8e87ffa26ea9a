package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	slapdProgram   = "/usr/sbin/slapd"
	slapaddProgram = "/usr/sbin/slapadd"
)

func needTools() error {
	for _, tool := range []string{slapdProgram, slapaddProgram} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is missing: apt-get install --yes slapd", tool)
		}
	}
	return nil
}

// slapd is one running server with the mdb backend.
type slapd struct {
	*process
	dir     string
	address string
	content content // of a provider
}

// database is one of a slapd's.
type database struct {
	suffix string
	lines  string // of slapd.conf, beside those that all have
}

// slapdConfig is slapd.conf of provider and consumer. Nothing is logged, since
// Shaft logs no operations either.
func slapdConfig(dir string, databases []database) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
pidfile %[1]s/slapd.pid
argsfile %[1]s/slapd.args
loglevel 0
sizelimit unlimited
timelimit unlimited
`, dir)
	for i, d := range databases {
		b.WriteString(strings.NewReplacer("DIR", databaseDir(dir, i), "SUFFIX", d.suffix, "PASSWORD", rootPassword).Replace(`
database mdb
suffix "SUFFIX"
rootdn "cn=admin,SUFFIX"
rootpw PASSWORD
directory DIR
maxsize 17179869184
index objectClass,entryUUID,entryCSN,uid eq
`) + d.lines)
	}
	return b.String()
}

func databaseDir(dir string, i int) string { return filepath.Join(dir, "db", fmt.Sprint(i)) }

// providerLines make a database one that can be followed.
const providerLines = "overlay syncprov\n"

// unsynced has a database not fsync, which is what a replica that is to be filled
// soon is advised to do; Shaft has no such mode and fsyncs.
const unsynced = "dbnosync\n"

// consumerLines make a database a copy.
const consumerLines = `syncrepl rid=%03d provider=ldap://%s type=refreshAndPersist retry="1 +"
  searchbase="%s" bindmethod=simple schemachecking=off
`

// newProvider makes a slapd with the content, which slapadd loads offline.
func newProvider(ctx context.Context, parent string, c content) (*slapd, error) {
	s, err := newSlapd(parent, "provider", database{c.suffix(), providerLines})
	if err != nil {
		return nil, err
	}
	s.content = c
	path := filepath.Join(s.dir, "content.ldif")
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(c.writeLDIF(file), file.Close()); err != nil {
		return nil, err
	}
	add := exec.CommandContext(ctx, slapaddProgram, "-q", "-w", "-f", s.config(), "-l", path)
	if out, err := add.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("slapadd: %w\n%s", err, out)
	}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, s.await("it answers", patience, func() (bool, error) {
		csn, err := contextCSN(s.address, c.suffix())
		return csn != "", err
	})
}

// newConsumer makes an empty slapd that will copy the providers when started; more
// are lines for each database.
func newConsumer(parent, more string, providers ...*slapd) (*slapd, error) {
	var databases []database
	for i, p := range providers {
		databases = append(databases, database{p.content.suffix(), fmt.Sprintf(consumerLines, i+1, p.address, p.content.suffix()) + more})
	}
	return newSlapd(parent, "consumer", databases...)
}

func newSlapd(parent, name string, databases ...database) (*slapd, error) {
	dir, err := os.MkdirTemp(parent, name)
	if err != nil {
		return nil, err
	}
	s := &slapd{dir: dir}
	if s.address, err = freeAddress(); err != nil {
		return nil, err
	}
	for i := range databases {
		if err := os.MkdirAll(databaseDir(dir, i), 0o700); err != nil {
			return nil, err
		}
	}
	return s, os.WriteFile(s.config(), []byte(slapdConfig(dir, databases)), 0o600)
}

func (s *slapd) config() string { return filepath.Join(s.dir, "slapd.conf") }
func (s *slapd) data() string   { return filepath.Join(s.dir, "db") }

func (s *slapd) start(more ...string) (err error) {
	args := append([]string{"-d", "0", "-f", s.config(), "-h", "ldap://" + s.address}, more...)
	s.process, err = startProcess(s.dir, nil, slapdProgram, args...)
	return err
}

// refreshLimit bounds a first refresh, of a million entries too.
const refreshLimit = time.Hour

// awaitCopy waits until the consumer has the provider's contextCSN, which is
// written after the last entry.
func (s *slapd) awaitCopy(provider *slapd) error {
	want, err := contextCSN(provider.address, provider.content.suffix())
	if err != nil {
		return err
	}
	return s.await("it has the provider's contextCSN", refreshLimit, func() (bool, error) {
		csn, err := contextCSN(s.address, provider.content.suffix())
		return csn == want, err
	})
}
