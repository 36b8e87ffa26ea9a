package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"shaft/pkg/agentx"
	"shaft/pkg/engine"
	"shaft/pkg/schema"
)

// snmpNames is how many names are walked: as many as a large installation has.
const snmpNames = 10_000

// snmpColumns of the table of names can be read.
const snmpColumns = 17

// snmpRow measures how long a monitor takes to read all names through net-snmp's snmpd. No other program
// shows them, so the two sides are the two ways on which snmpd is reached; Shaft's SNMP door runs in this
// process, on names that are made up.
var snmpRow = row{
	name: "snmp",
	title: func(options) string {
		return fmt.Sprintf("bulk walk by SNMP, v2c, of %d names by %d columns through snmpd", snmpNames, snmpColumns)
	},
	sides:   [2]string{"by unix socket", "by TCP"},
	figures: []figure{{"s", cost}, {"cells a second", rate}, {"CPU s of snmpd", cost}},
	sample: func(ctx context.Context, b *bench, s side) ([]float64, error) {
		return b.sampleSNMP(ctx, s, snmpNames)
	},
}

// namesTable is shaftNameTable of SHAFT-MIB.
const namesTable = "." + schema.Arc + ".1.3"

// sampleSNMP walks once.
func (b *bench) sampleSNMP(ctx context.Context, s side, names int) ([]float64, error) {
	agent, err := b.startSNMPd(s)
	if err != nil {
		return nil, err
	}
	defer agent.stop()
	network, address, err := agentx.ParseAddress(agent.agentx)
	if err != nil {
		return nil, err
	}
	door, err := agentx.New(agentx.Options{Network: network, Address: address, Source: madeUp(names), Version: "bench"})
	if err != nil {
		return nil, err
	}
	defer door.Close()
	err = agent.await("its names are shown", patience, func() (bool, error) {
		out, err := agent.ask(ctx, "snmpget", fmt.Sprintf("%s.1.2.%d", namesTable, names))
		return err == nil && bytes.Contains(out, []byte(`"cn=name `)), err
	})
	if err != nil {
		return nil, err
	}
	before, err := agent.cpu()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	n, err := agent.walk(ctx)
	took := time.Since(began).Seconds()
	if err != nil {
		return nil, err
	}
	if n != names*snmpColumns {
		return nil, fmt.Errorf("%d cells were walked, of %d", n, names*snmpColumns)
	}
	after, err := agent.cpu()
	return []float64{took, float64(n) / took, after - before}, err
}

// snmpd is a running SNMP agent.
type snmpd struct {
	*process
	address, agentx string
}

func (b *bench) startSNMPd(s side) (*snmpd, error) {
	const program = "/usr/sbin/snmpd"
	for _, tool := range []string{program, "snmpbulkwalk"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is missing: apt-get install --yes snmpd snmp", tool)
		}
	}
	dir, err := b.tempDir("snmpd")
	if err != nil {
		return nil, err
	}
	a := &snmpd{agentx: "unix:" + filepath.Join(dir, "agentx")}
	if a.address, err = freeAddress(); err != nil {
		return nil, err
	}
	if s == theirs {
		tcp, err := freeAddress()
		if err != nil {
			return nil, err
		}
		a.agentx = "tcp:" + tcp
	}
	config := filepath.Join(dir, "snmpd.conf")
	text := fmt.Sprintf("agentaddress udp:%s\nmaster agentx\nagentXSocket %s\nagentXTimeout 30\nrocommunity public 127.0.0.1\n", a.address, a.agentx)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	a.process, err = startProcess(dir, []string{"SNMP_PERSISTENT_DIR=" + dir}, program, "-f", "-I", "-smux", "-LE", "3", "-C", "-c", config)
	return a, err
}

// walk counts the cells of the table of names.
func (a *snmpd) walk(ctx context.Context) (cells int, err error) {
	out, err := a.ask(ctx, "snmpbulkwalk", namesTable, "-Cr50")
	for line := range bytes.Lines(out) {
		if bytes.HasPrefix(line, []byte(namesTable+".1.")) {
			cells++
		}
	}
	return cells, err
}

// ask runs a program of net-snmp's.
func (a *snmpd) ask(ctx context.Context, program, oid string, more ...string) ([]byte, error) {
	args := append([]string{"-v2c", "-c", "public", "-m", "", "-On", "-Oq", "-t", "2", "-r", "2"}, append(more, "udp:"+a.address, oid)...)
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return out, nil
}

// madeUp is so many names.
type madeUp int

// Watched tells of names that follow their sources.
func (m madeUp) Watched(context.Context) (*engine.Watched, error) {
	w := &engine.Watched{At: time.Now(), Names: make([]engine.WatchedName, m)}
	for i := range w.Names {
		rdn := fmt.Sprintf("cn=name %d", i)
		w.Names[i] = engine.WatchedName{Numbered: engine.Numbered{Number: uint32(i + 1), Label: rdn}, Name: engine.Name{
			DN: rdn + "," + baseDN, LastKnownGood: true, Entries: i,
			Head: engine.Link{
				Claim: fmt.Sprintf("list/%d", i), Subscription: "list", URL: "ldap://ldap.example/" + rdn + ",o=list??sub", Online: true,
				State: "live", LastContact: "2026-05-04T12:00:00Z", LastChange: "2026-05-04T11:00:00Z",
			},
		}}
	}
	return w, nil
}

// Availability knows nothing.
func (m madeUp) Availability(context.Context, string, time.Time, time.Time) (*engine.Availability, error) {
	return &engine.Availability{}, nil
}
