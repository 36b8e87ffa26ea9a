package test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// soakTime is how long TestSoak goes on: make soak takes ten minutes.
var soakTime = flag.Duration("soak", 6*time.Second, "how `long` the soak takes")

const (
	soakAccount = "cn=mirror," + base
	// soakRSS is what the daemon may hold at any moment, in MiB. Most of it is no matter of clients:
	// the store's buffers, and the 19 MiB of each password that is looked at.
	soakRSS = 450
	// soakGrowth is how much the mean of the last fifth may be above that of the second one, where
	// the soak takes soakLong: in less the heap has not found its size.
	soakGrowth = 48
	soakLong   = 2 * time.Minute
	// soakLeft is how many descriptors and goroutines there may be afterwards more than before: those
	// of the store, and of who scrapes the metrics, come and go.
	soakLeft = 12
	// soakSlowest is how long a search of the good client may take where the soak takes soakLong: it has a
	// share of two cores, as each of the others has.
	soakSlowest = 10 * time.Second
	// soakLag is how long ago the mirror may have been where Shaft is.
	soakLag = time.Minute
	// soakGoroutines is how many there may be at any moment: a few for each of 60 connections.
	soakGoroutines = 500
)

// soaked is the daemon under attack.
type soaked struct {
	*shaft
	metrics string // URL
	corpus  [][]byte
	flood   []byte // of small searches
	deluge  []byte // of large ones
	pool    *x509.CertPool
	shown   [3]*tls.Certificate // good, expired, of another authority
	slowest atomic.Int64        // of the good client's searches
	bouts   []atomic.Int64      // by kind of attack
}

func (s *soaked) tls() *tls.Config { return &tls.Config{RootCAs: s.pool, ServerName: "127.0.0.1"} }

// R38, R40, R42, R56: hostile clients of all kinds at once, for as long as -soak says, beside a source that changes and
// a slapd that follows: each request gets the right result, memory stays within bounds, nothing panics, nothing is left
// behind, and in the end the follower has what is served.
func TestSoak(t *testing.T) {
	src := source(t, "soak", 41)
	s := newSoaked(t)
	s.run("subscription", "add", "soak", "--url", src.slapd.URL()+"/"+src.suffix, "--name", "cn=Soak")
	s.live("cn=Soak")
	for range 30 {
		src.change()
	}
	m := mirror(t, "ldap://"+s.address, base, "type=refreshAndPersist", "schemachecking=off")
	s.mirrors(t, m, base)
	before := s.sample(t)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var attacks sync.WaitGroup
	for i, h := range hostiles {
		for n := range h.times {
			attacks.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), uint64(n)))
				for ctx.Err() == nil {
					err := h.bout(ctx, s, r)
					if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
						return // the bout was long, and its connection closed by its end
					}
					if err != nil {
						t.Errorf("%s, bout %d: %v", h.name, s.bouts[i].Load(), err)
						return
					}
					if ctx.Err() == nil { // else it may have been cut short
						s.bouts[i].Add(1)
					}
				}
			})
		}
	}
	var samples []footprint
	var lag behind
	end := time.Now().Add(*soakTime)
	for now := time.Now(); !t.Failed() && (now.Before(end) || now.Before(end.Add(limit)) && s.untried() != ""); now = time.Now() {
		src.change()
		samples = append(samples, s.sample(t))
		lag.look(time.Now(), s.contextCSN(), line(m.Search("-LLL", "-b", base, "-s", "base", "contextCSN"), "contextCSN"))
	}
	stop()
	attacks.Wait()
	s.report(t, src, before, samples)
	t.Logf("the mirror was behind for %v at most", lag.most.Round(time.Millisecond))
	if lag.most > soakLag {
		t.Errorf("the mirror was behind for %v", lag.most)
	}
	src.slapd.Apply(fmt.Sprintf("dn: cn=the last,%s\nchangetype: add\nobjectClass: device\ncn: the last\n", src.suffix))
	eventually(t, limit, "the last change is served", func() bool { return strings.Contains(s.dump(base), "dn: cn=the last,") })
	s.mirrors(t, m, base)
	eventually(t, limit, "descriptors and goroutines are given back", func() bool {
		now := s.sample(t)
		return now.files <= before.files+soakLeft && now.goroutines <= before.goroutines+soakLeft
	})
	s.checkLog(t)
}

// untried names a kind of attack that came to no check yet, though the soak is long enough for it.
func (s *soaked) untried() string {
	for i, h := range hostiles {
		if s.bouts[i].Load() == 0 && *soakTime > h.takes {
			return h.name
		}
	}
	return ""
}

// behind is how far a mirror is behind what it follows.
type behind struct {
	told []toldAt      // what it has not, the oldest first
	most time.Duration // that something has taken
}

// toldAt is when a CSN was seen for the first time.
type toldAt struct {
	at  time.Time
	csn string
}

// look notes where a server is, and where its mirror.
func (b *behind) look(now time.Time, csn, mirror string) {
	if n := len(b.told); n == 0 || b.told[n-1].csn != csn {
		b.told = append(b.told, toldAt{now, csn})
	}
	for len(b.told) > 0 && b.told[0].csn <= mirror {
		b.told = b.told[1:]
	}
	if len(b.told) > 0 {
		b.most = max(b.most, now.Sub(b.told[0].at))
	}
}

func newSoaked(t *testing.T) *soaked {
	t.Helper()
	dir := t.TempDir()
	ours, others := newIssuer(t), newIssuer(t)
	ca, cert, key := ours.files(t, dir)
	hash, code := tool(t, "correct horse\n", binary, "passwd")
	if code != 0 {
		t.Fatalf("passwd: exit %d, %s", code, hash)
	}
	at := ldaptest.FreeAddress(t)
	s := &soaked{metrics: "http://" + at + "/metrics", corpus: corpus(t), flood: floodOf(0), deluge: floodOf(2), pool: x509.NewCertPool(), bouts: make([]atomic.Int64, len(hostiles))}
	s.pool.AddCert(ours.cert)
	s.shown = [3]*tls.Certificate{ours.pair(t, "good", time.Now().Add(24*time.Hour)), ours.pair(t, "good", time.Now().Add(-time.Minute)),
		others.pair(t, "good", time.Now().Add(24*time.Hour))}
	s.shaft = newShaft(t, fmt.Sprintf(`base_dn: %s
tls: { certificate: %q, key: %q, client_ca: %q }
limits: { request: 3s }
metrics: { listen: %q }
guard: off
accounts: [ { dn: %q, password_hash: %q } ]
access: [ { who: anonymous, allow: sync }, { who: users, allow: sync } ]
`, base, cert, key, ca, at, soakAccount, strings.TrimSpace(hash)))
	return s
}

// footprint is what the daemon takes at a moment.
type footprint struct {
	rss               float64 // MiB
	files, goroutines int
}

func (s *soaked) sample(t *testing.T) (out footprint) {
	t.Helper()
	select {
	case <-s.done:
		t.Fatalf("the daemon ended:\n%s", s.log)
	default:
	}
	proc := fmt.Sprintf("/proc/%d", s.cmd.Process.Pid)
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			if err != nil {
				t.Fatal(err)
			}
			out.rss = kib / 1024
		}
	}
	files, err := filepath.Glob(proc + "/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	_, all := scrape(t, s.metrics)
	out.files, out.goroutines = len(files), int(all["go_goroutines"])
	if out.rss == 0 || out.goroutines == 0 {
		t.Fatalf("no memory or no goroutines: %+v", out)
	}
	return out
}

// report tells the figures, and looks whether they are within bounds.
func (s *soaked) report(t *testing.T, src *traffic, before footprint, samples []footprint) {
	t.Helper()
	var most footprint
	for _, v := range samples {
		most = footprint{max(most.rss, v.rss), max(most.files, v.files), max(most.goroutines, v.goroutines)}
	}
	mean := func(part []footprint) (sum float64) {
		for _, v := range part {
			sum += v.rss / float64(len(part))
		}
		return sum
	}
	fifth := max(1, len(samples)/5)
	early, late := mean(samples[min(fifth, len(samples)-1):min(2*fifth, len(samples))]), mean(samples[len(samples)-fifth:])
	t.Logf("%v: %d changes, %d samples; RSS %.0f MiB before, %.0f at most, %.0f in the second fifth, %.0f in the last; %d descriptors before, %d at most; %d goroutines before, %d at most; the slowest search of the good client took %v",
		*soakTime, src.n, len(samples), before.rss, most.rss, early, late, before.files, most.files, before.goroutines, most.goroutines,
		time.Duration(s.slowest.Load()).Round(time.Millisecond))
	for i, h := range hostiles {
		t.Logf("%8d bouts: %s", s.bouts[i].Load(), h.name)
	}
	if most.rss > soakRSS || most.goroutines > soakGoroutines {
		t.Errorf("RSS was %.0f MiB (at most %d are allowed), with %d goroutines (%d)", most.rss, soakRSS, most.goroutines, soakGoroutines)
	}
	if name := s.untried(); name != "" && !t.Failed() {
		t.Errorf("no bout of %q has ended", name)
	}
	if *soakTime < soakLong {
		return
	}
	if late > early+soakGrowth {
		t.Errorf("RSS grew from %.0f MiB to %.0f", early, late)
	}
	if slowest := time.Duration(s.slowest.Load()); slowest > soakSlowest {
		t.Errorf("the slowest search of the good client took %v", slowest)
	}
}

// A mirror is behind from the moment on at which what it lacks was there.
func TestBehind(t *testing.T) {
	var b behind
	begin := time.Now()
	for i, c := range []struct {
		csn, mirror string
		most        time.Duration // in seconds
	}{{"1", "1", 0}, {"2", "1", 0}, {"3", "1", 1}, {"3", "2", 1}, {"4", "2", 2}, {"5", "5", 2}, {"5", "5", 2}, {"6", "5", 2}, {"6", "5", 2}, {"6", "", 2}, {"6", "", 3}} {
		b.look(begin.Add(time.Duration(i)*time.Second), c.csn, c.mirror)
		if b.most != c.most*time.Second {
			t.Errorf("look %d: behind for %v, want %v s", i, b.most, c.most)
		}
	}
}

// checkLog stops the daemon and looks for a panic in its log.
func (s *soaked) checkLog(t *testing.T) {
	t.Helper()
	s.stop()
	log := s.log.String()
	t.Logf("%d KiB of log", len(log)>>10)
	if i := strings.Index(strings.ToLower(log), "panic"); i >= 0 {
		t.Errorf("a panic:\n%s", log[max(0, i-200):min(len(log), i+3000)])
	}
}
