package daemon

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shaft/pkg/agentx"
)

// R51: the SNMP agent, the context and the arc as the file has them.
func TestConfigOfAgentX(t *testing.T) {
	for text, want := range map[string]AgentX{
		"": {},
		"agentx: { address: 'unix:/var/agentx/master' }":                       {Network: "unix", Address: "/var/agentx/master"},
		"agentx: { address: 'tcp:[::1]:705', context: two, arc: 1.3.6.1.4.1 }": {Network: "tcp", Address: "[::1]:705", Context: "two", Arc: "1.3.6.1.4.1"},
	} {
		cfg, err := LoadConfig(write(t, text))
		if err != nil || cfg.AgentX != want {
			t.Errorf("%q: %+v, %v", text, cfg, err)
		}
	}
}

// R56: what is wrong with the key is told with its place.
func TestConfigOfAgentXErrors(t *testing.T) {
	for text, want := range map[string]string{
		"agentx: on":                                            "1:9: agentx is to be a mapping",
		"agentx: {}":                                            "1:9: agentx needs an address",
		"agentx: { context: x }":                                "1:9: agentx needs an address",
		"agentx: { socket: x }":                                 `1:11: agentx has no key "socket"`,
		"agentx: { address: 5 }":                                "1:20: a text is expected",
		"agentx: { address: '' }":                               "1:20: ",
		"agentx: { address: /x }":                               "1:20: agentx address \"/x\": unix:PATH or tcp:HOST:PORT is expected",
		"agentx: { address: 'unix:x' }":                         "1:20: agentx address \"unix:x\": an absolute path",
		"agentx: { address: 'tcp:705' }":                        "1:20: agentx address \"tcp:705\": HOST:PORT",
		"agentx: { address: 'tcp::705' }":                       "1:20: agentx address",
		"agentx: { address: 'udp:1:1' }":                        "1:20: agentx address",
		"agentx: { address: 'unix:/x', arc: 1.3 }":              "1:36: a text is expected",
		"agentx: { address: 'unix:/x', arc: '1.3' }":            "1:36: agentx arc \"1.3\"",
		"agentx: { address: 'unix:/x', arc: 1.3.6.x }":          "1:36: agentx arc",
		"agentx: { address: 'unix:/x', arc: 1.99.6.1 }":         "1:36: agentx arc",
		"agentx: { address: 'unix:/x', arc: 1.3.6.4294967296 }": "1:36: agentx arc",
		"agentx: { address: 'unix:/x', arc: 1.3.6" + strings.Repeat(".1", 100) + " }": "1:36: agentx arc",
		"agentx: { address: 'unix:/x', context: " + strings.Repeat("x", 33) + " }":    "1:40: the name of an SNMP context has at most 32 bytes",
	} {
		if _, err := LoadConfig(write(t, text)); err == nil || !strings.Contains(err.Error(), ":"+want) {
			t.Errorf("%q: %v, wanted %s", text, err, want)
		}
	}
}

// R51: with the key the daemon calls at the SNMP agent, and ends with it hanging or away.
func TestDaemonUnderAnSNMPAgent(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "a")
	path := write(t, "data_dir: "+dir+"/data\nlisten: []\nagentx: { address: 'unix:"+socket+"', context: 'ours' }\n")
	cfg, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Start(cfg, Options{Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket) // it starts later
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.(*net.UnixListener).SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	head := make([]byte, 20)
	if _, err := conn.Read(head); err != nil || head[0] != 1 || head[1] != 1 {
		t.Errorf("it opens with %x, %v", head, err)
	}
	d.Close() // though nobody answers
	if agentx.CheckArc("1.3.6.1") != nil {
		t.Error("a short arc is refused")
	}
}
