package daemon

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"shaft/internal/ldaptest"
)

// R56: where metrics are told, and what is wrong with that, by its place.
func TestConfigOfMetrics(t *testing.T) {
	for text, want := range map[string]string{
		"metrics: { listen: 127.0.0.1:9389 }": "",
		"metrics: { listen: ':0' }":           "",
		"metrics: { listen: '[::1]:9389' }":   "",
		"metrics:":                            "",
		"metrics: {}":                         ":1:10: metrics needs a place: { listen: 127.0.0.1:9389 }",
		"metrics: 127.0.0.1:9389":             ":1:10: metrics is to be a mapping",
		"metrics: { listen: 9389 }":           ":1:20: a text is expected",
		"metrics: { listen: localhost }":      `:1:20: "localhost" is not of the form host:port, such as 127.0.0.1:9389`,
		"metrics: { listen: '::1:9389' }":     `:1:20: "::1:9389" is not of the form host:port`,
		"metrics: { listen: 'a:65536' }":      `:1:20: "a:65536" is not of the form host:port`,
		"metrics: { listen: 'a:http' }":       `:1:20: "a:http" is not of the form host:port`,
		"metrics: { path: /m }":               `:1:12: metrics has no key "path"`,
	} {
		cfg, err := LoadConfig(write(t, text))
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%q: %v", text, err)
		case want == "" && text != "metrics:" && cfg.Metrics == "":
			t.Errorf("%q: no place", text)
		}
	}
}

// R52: metrics are told at their own door and on the control socket, and nothing else is there.
func TestR52DoorOfMetrics(t *testing.T) {
	at := ldaptest.FreeAddress(t)
	d, path, log, m := reloadable(t, plainConfig+"metrics: { listen: '"+at+"' }\n")
	socket := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", d.cfg.ControlSocket)
	}}}
	defer socket.CloseIdleConnections()
	for url, by := range map[string]*http.Client{"http://" + at + "/metrics": http.DefaultClient, "http://shaft/metrics": socket} {
		resp, err := by.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		for _, want := range []string{"\nshaft_entries 1\n", "\nshaft_ldap_connections 0\n", "\ngo_goroutines ", "\nprocess_open_fds ", "\nshaft_store_size_bytes "} {
			if err != nil || !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q: %v", url, want, err)
			}
		}
	}
	for _, path := range []string{"/", "/api/v1/status", "/metrics/x"} {
		resp, err := http.Get("http://" + at + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	rewrite(t, path, plainConfig)
	d.Reload(path)
	m.next()
	m.next()
	if !strings.Contains(log.String(), `needs a restart" keys=metrics`) {
		t.Errorf("the log says\n%s", log)
	}
	d.Close()
	if c, err := net.Dial("tcp", at); err == nil {
		c.Close()
		t.Error("the door is open after Close")
	}
}

// A place that is taken keeps the daemon from starting, and is named.
func TestPlaceOfMetricsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg, err := LoadConfig(write(t, plainConfig+"metrics: { listen: '"+l.Addr().String()+"' }\n"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := Start(cfg, Options{})
	if err == nil {
		d.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "metrics: listen tcp "+l.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

// Scrapers that send half a request, or read nothing, hold up neither Close nor, once their
// time is over, who comes after them.
func TestHostileScrapers(t *testing.T) {
	at := ldaptest.FreeAddress(t)
	d, _, _, _ := reloadable(t, plainConfig+"metrics: { listen: '"+at+"' }\n")
	var conns []net.Conn
	for i := range maxScrapers + 10 {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			io.WriteString(c, "GET /metrics HT")
		} else {
			io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
		}
		conns = append(conns, c)
	}
	long, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer long.Close()
	io.WriteString(long, "GET /metrics HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 64<<10))
	for _, c := range conns[:maxScrapers] { // each is ended, or answered and ended
		io.Copy(io.Discard, c)
	}
	resp, err := http.Get("http://" + at + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
	reply, err := http.ReadResponse(bufio.NewReader(long), nil)
	if err == nil && reply.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 64 KiB: %s", reply.Status)
	}
	d.Close()
}

// A listener with slots has no more connections open than those, and Close ends the wait for one.
func TestFewListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newFewListener(inner, 2)
	accepted := make(chan net.Conn)
	failed := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				failed <- err
				return
			}
			accepted <- c
		}
	})
	for range 4 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	one, two := <-accepted, <-accepted
	if len(l.slots) != 2 {
		t.Errorf("%d slots are taken", len(l.slots))
	}
	select {
	case <-accepted:
		t.Error("a third was accepted")
	default:
	}
	one.Close()
	one.Close() // gives one slot back, not two
	three := <-accepted
	if len(l.slots) != 2 {
		t.Errorf("%d slots are taken", len(l.slots))
	}
	l.Close()
	l.Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	wg.Wait()
	two.Close()
	three.Close()
}
