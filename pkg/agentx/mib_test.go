package agentx

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/posteo/go-agentx/pdu"

	"shaft/pkg/schema"
)

// object is one that the MIB defines and that can be read.
type object struct {
	name, syntax string
	at           []uint32 // below the objects' root, without an index
	scalar       bool
}

func mibText(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../mibs/SHAFT-MIB.txt")
	must(t, err)
	return string(b)
}

var (
	assigned = regexp.MustCompile(`(?m)^([a-z]\w+)\s+(OBJECT-TYPE|OBJECT IDENTIFIER|NOTIFICATION-TYPE)[^:]*?(?s:.*?)::= \{ (\w+) (\d+) \}`)
	syntaxOf = regexp.MustCompile(`SYNTAX\s+(\w+)`)
)

// mib reads the objects out of mibs/SHAFT-MIB.txt.
func mib(t *testing.T) (out []object) {
	t.Helper()
	_, text, _ := strings.Cut(mibText(t), "\nshaftObjects ")
	at := map[string][]uint32{"shaftObjects": {}}
	for _, m := range assigned.FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseUint(m[4], 10, 32)
		must(t, err)
		parent, known := at[m[3]]
		if !known {
			continue
		}
		oid := append(slices.Clone(parent), uint32(n))
		at[m[1]] = oid
		if m[2] == "OBJECT-TYPE" && strings.Contains(m[0], "MAX-ACCESS  read-only") {
			out = append(out, object{m[1], syntaxOf.FindStringSubmatch(m[0])[1], oid, m[3] == "shaftSystem"})
		}
	}
	return out
}

// R51: each object of the MIB is served under its number and with its syntax, and nothing else is.
func TestMIBIsServed(t *testing.T) {
	v := sample(t)
	kinds := map[string]pdu.VariableType{
		"ShaftText": pdu.VariableTypeOctetString, "ShaftLabel": pdu.VariableTypeOctetString, "DateAndTime": pdu.VariableTypeOctetString,
		"TimeTicks": pdu.VariableTypeTimeTicks, "Gauge32": pdu.VariableTypeGauge32, "Unsigned32": pdu.VariableTypeGauge32, "Counter32": pdu.VariableTypeCounter32,
		"TruthValue": pdu.VariableTypeInteger, "INTEGER": pdu.VariableTypeInteger, "ShaftSourceState": pdu.VariableTypeInteger,
		"ShaftCondition": pdu.VariableTypeInteger, "ShaftSeverity": pdu.VariableTypeInteger,
	}
	names := columnNames()
	objects := mib(t)
	for _, o := range objects {
		at, c, found := v.next(o.at, false, noon)
		if !found || !slices.Equal(at[:len(o.at)], o.at) {
			t.Errorf("%s %v is not served", o.name, o.at)
			continue
		}
		if want, known := kinds[o.syntax]; !known || c.kind != want {
			t.Errorf("%s has the syntax %s, and is served as %s", o.name, o.syntax, c.kind)
		}
		if got := names[oidKey(o.at)]; got != o.name {
			t.Errorf("%v is %s in the MIB, %s in the code", o.at, o.name, got)
		}
	}
	if len(objects) != len(names) || len(objects) < 80 {
		t.Errorf("the MIB has %d objects, the code %d", len(objects), len(names))
	}
}

func oidKey(at []uint32) (key string) {
	for _, n := range at {
		key += "." + strconv.FormatUint(uint64(n), 10)
	}
	return key
}

// columnNames gives the code's names by where they are served.
func columnNames() map[string]string {
	out := map[string]string{}
	add(out, []uint32{1}, systemColumns)
	add(out, []uint32{2, 1}, upstreamColumns)
	add(out, []uint32{3, 1}, nameColumns)
	add(out, []uint32{4, 1}, queueColumns)
	add(out, []uint32{5, 1}, clashColumns)
	add(out, []uint32{6, 1}, downColumns)
	add(out, []uint32{7, 1}, noLKGColumns)
	add(out, []uint32{8, 1}, alarmColumns)
	return out
}

func add[R any](out map[string]string, prefix []uint32, columns []column[R]) {
	for _, c := range columns {
		out[oidKey(append(slices.Clone(prefix), c.number))] = c.name
	}
}

// R51: the MIB's root is the project's one arc, and what notifications bear is what is sent.
func TestMIBConstants(t *testing.T) {
	text := mibText(t)
	if want := "{ netSnmpPlaypen 389 }"; !strings.Contains(text, want) || schema.Arc != "1.3.6.1.4.1.8072.9999.9999.389" {
		t.Errorf("the root is not %s, or not %s", want, schema.Arc)
	}
	for _, m := range regexp.MustCompile(`OBJECTS     \{ (shaftAlarmLabel[^}]*)\}`).FindAllStringSubmatch(text, -1)[:14] {
		if got := strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }); !slices.Equal(got, notified) {
			t.Errorf("a notification bears %v, and %v is sent", got, notified)
		}
	}
	words := map[string]string{"no-lkg": "shaftNoLkg", "held": "shaftHeld", "down": "shaftDown", "not-syncrepl": "shaftNotSyncRepl",
		"clash": "shaftClash", "overlap": "shaftOverlap", "name-error": "shaftNameError"}
	for k, n := range kindNumbers {
		for i, what := range []string{"Raised", "Cleared"} {
			line := regexp.MustCompile(words[string(k)] + what + ` NOTIFICATION-TYPE(?s:.*?)::= \{ shaftNotifications (\d+) \}`).FindStringSubmatch(text)
			if want := strconv.Itoa(int(2*n) - 1 + i); line == nil || line[1] != want {
				t.Errorf("%s%s is no notification %s: %v", words[string(k)], what, want, line)
			}
		}
	}
	for _, values := range []string{
		"connecting(1), refreshing(2), live(3), polling(4),\n                     held(5), down(6), unsupported(7)",
		"noLastKnownGood(1), heldRefresh(2), down(3),\n                     notSyncRepl(4), clash(5), overlap(6), nameError(7)",
		"none(1), warning(2), average(3), high(4),\n                     disaster(5)", "fine(1), raised(2), acknowledged(3)",
	} {
		if !strings.Contains(text, values) {
			t.Errorf("the MIB has no values %s", values)
		}
	}
}

// R51: smilint finds nothing in the MIB, and net-snmp drops nothing of it.
func TestMIBCheck(t *testing.T) {
	out, err := exec.Command("../../tools/mib-check.sh").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}
