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
}

// slapdConfig is slapd.conf of provider and consumer; database has the lines that
// differ. Nothing is logged, since Shaft logs no operations either.
func slapdConfig(dir, database string) string {
	return strings.NewReplacer("DIR", dir, "SUFFIX", suffix, "PASSWORD", rootPassword).Replace(`
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
pidfile DIR/slapd.pid
argsfile DIR/slapd.args
loglevel 0
sizelimit unlimited
timelimit unlimited
database mdb
suffix "SUFFIX"
rootdn "cn=admin,SUFFIX"
rootpw PASSWORD
directory DIR/db
maxsize 17179869184
index objectClass,entryUUID,entryCSN,uid eq
`) + database
}

const providerLines = "overlay syncprov\n"

// consumerLines have the database not fsync, which is what a replica that is to
// be filled soon is advised to do; Shaft has no such mode and fsyncs.
const consumerLines = `dbnosync
syncrepl rid=001 provider=ldap://%s type=refreshAndPersist retry="1 +"
  searchbase="%s" bindmethod=simple schemachecking=off
`

// newProvider makes a slapd with the content, which slapadd loads offline.
func newProvider(ctx context.Context, parent string, c content) (*slapd, error) {
	s, err := newSlapd(parent, "provider", providerLines)
	if err != nil {
		return nil, err
	}
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
		csn, err := contextCSN(s.address, suffix)
		return csn != "", err
	})
}

// newConsumer makes an empty slapd that will copy the provider when started.
func newConsumer(parent, provider string) (*slapd, error) {
	return newSlapd(parent, "consumer", fmt.Sprintf(consumerLines, provider, suffix))
}

func newSlapd(parent, name, database string) (*slapd, error) {
	dir, err := os.MkdirTemp(parent, name)
	if err != nil {
		return nil, err
	}
	s := &slapd{dir: dir}
	if s.address, err = freeAddress(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(s.data(), 0o700); err != nil {
		return nil, err
	}
	return s, os.WriteFile(s.config(), []byte(slapdConfig(dir, database)), 0o600)
}

func (s *slapd) config() string { return filepath.Join(s.dir, "slapd.conf") }
func (s *slapd) data() string   { return filepath.Join(s.dir, "db") }

func (s *slapd) start() (err error) {
	s.process, err = startProcess(s.dir, nil, slapdProgram, "-d", "0", "-f", s.config(), "-h", "ldap://"+s.address)
	return err
}

// refreshLimit bounds a first refresh, of a million entries too.
const refreshLimit = time.Hour

// awaitCopy waits until the consumer has the provider's contextCSN, which is
// written after the last entry.
func (s *slapd) awaitCopy(want string) error {
	return s.await("it has the provider's contextCSN", refreshLimit, func() (bool, error) {
		csn, err := contextCSN(s.address, suffix)
		return csn == want, err
	})
}
