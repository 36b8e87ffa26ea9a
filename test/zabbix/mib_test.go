package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// mibFile is Shaft's MIB; playpen is what it lies below, in net-snmp's own.
const (
	mibFile = "../../mibs/SHAFT-MIB.txt"
	playpen = "1.3.6.1.4.1.8072.9999.9999"
)

// object of the MIB.
type mibObject struct {
	name, oid, syntax, access string
	enum                      map[string]string // names by number, of its own syntax or its convention's
}

var (
	mibComment    = regexp.MustCompile(`(?m)--.*$`)
	mibDefinition = regexp.MustCompile(`(?ms)^(\w+)[ ]+(?:MODULE-IDENTITY|OBJECT-TYPE|OBJECT IDENTIFIER)\b(.*?)::= \{ (\w+) (\d+) \}`)
	mibConvention = regexp.MustCompile(`(?ms)^(\w+) ::= TEXTUAL-CONVENTION.*?\bSYNTAX\s+(.*?)\n\n`)
	mibSyntax     = regexp.MustCompile(`(?s)\bSYNTAX\s+(\w+)\s*(\{.*?\})?`)
	mibAccess     = regexp.MustCompile(`MAX-ACCESS\s+([\w-]+)`)
	mibName       = regexp.MustCompile(`(\w+)\((\d+)\)`)
)

// readMIB gives the objects by their OID, which begins with the root's.
func readMIB(t *testing.T) map[string]mibObject {
	t.Helper()
	text, err := os.ReadFile(mibFile)
	if err != nil {
		t.Fatal(err)
	}
	return parseMIB(string(text))
}

func parseMIB(text string) map[string]mibObject {
	text = mibComment.ReplaceAllString(text, "")
	enum := func(text string) map[string]string {
		names := map[string]string{}
		for _, m := range mibName.FindAllStringSubmatch(text, -1) {
			names[m[2]] = m[1]
		}
		return names
	}
	conventions := map[string]map[string]string{"TruthValue": {"1": "true", "2": "false"}}
	for _, m := range mibConvention.FindAllStringSubmatch(text, -1) {
		if strings.HasPrefix(m[2], "INTEGER") {
			conventions[m[1]] = enum(m[2])
		}
	}
	oids, objects := map[string]string{"netSnmpPlaypen": playpen}, map[string]mibObject{}
	for _, m := range mibDefinition.FindAllStringSubmatch(text, -1) {
		o := mibObject{name: m[1], oid: oids[m[3]] + "." + m[4]}
		oids[o.name] = o.oid
		if s := mibSyntax.FindStringSubmatch(m[2]); s != nil {
			o.syntax, o.enum = s[1], conventions[s[1]]
			if s[2] != "" {
				o.enum = enum(s[2])
			}
		}
		if a := mibAccess.FindStringSubmatch(m[2]); a != nil {
			o.access = a[1]
		}
		objects[o.oid] = o
	}
	return objects
}

// The reader finds what it is for.
func TestMIBIsRead(t *testing.T) {
	objects := readMIB(t)
	for oid, want := range map[string]string{
		root: "shaftMIB", root + ".1.1.3": "shaftUpTime", root + ".1.3.1.2": "shaftNameLabel", root + ".1.8.1.8": "shaftAlarmText",
	} {
		if objects[oid].name != want {
			t.Errorf("%s is %q, want %s", oid, objects[oid].name, want)
		}
	}
	if o := objects[root+".1.2.1.4"]; o.syntax != "INTEGER" || o.enum["2"] != "list" || o.access != "read-only" {
		t.Errorf("%+v", o)
	}
	if o := objects[root+".1.3.1.4"]; o.syntax != "ShaftSourceState" || o.enum["3"] != "live" {
		t.Errorf("%+v", o)
	}
	if o := objects[root+".1.8.1.2"]; o.access != "not-accessible" || o.enum["7"] != "nameError" {
		t.Errorf("%+v", o)
	}
}
