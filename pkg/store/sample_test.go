package store

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"

	"shaft/pkg/dit"
)

// sampleKind is a kind of entry whose values look as the engine makes them: a head, a DN and an entryCSN with lengths, and attributes as a
// search sends them.
type sampleKind struct {
	name  string
	entry func(r *rand.Rand, i int) []byte
}

var samples = []sampleKind{
	{"person", samplePerson(0)}, {"person with 100 random letters", samplePerson(100)},
	{"posixAccount", sampleAccount}, {"groupOfNames of 200", sampleGroup}, {"device", sampleDevice},
	{"schema", sampleSchema}, {"random", sampleRandom},
}

// sampleValue puts a value together, the operational attributes of a slapd behind the others.
func sampleValue(r *rand.Rand, rel, class string, user dit.Run) []byte {
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	u := hex.EncodeToString(random(16))
	at := fmt.Sprintf("202610%02d%02d%02d%02dZ", 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60))
	oper := dit.AppendAttr(nil, "createTimestamp", at)
	oper = dit.AppendAttr(oper, "creatorsName", "cn=admin,dc=branch,dc=example")
	oper = dit.AppendAttr(oper, "entryUUID", u[:8]+"-"+u[8:12]+"-"+u[12:16]+"-"+u[16:20]+"-"+u[20:])
	oper = dit.AppendAttr(oper, "modifiersName", "cn=admin,dc=branch,dc=example")
	oper = dit.AppendAttr(oper, "modifyTimestamp", at)
	oper = dit.AppendAttr(oper, "structuralObjectClass", class)
	csn := at[:14] + fmt.Sprintf(".%06dZ#000000#000#000000", r.IntN(1e6))
	out := append([]byte{1, 0}, random(8)...)
	for _, part := range []string{rel, csn, string(user)} {
		out = append(binary.AppendUvarint(out, uint64(len(part))), part...)
	}
	return append(out, oper...)
}

func from[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func letters(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[r.IntN(36)]
	}
	return string(b)
}

func sampleName(r *rand.Rand) (given, surname string) {
	return from(r, "Anna", "Bela", "Carla", "Dmitri", "Elif", "Farid", "Greta", "Hugo"), from(r, "Maier", "Okafor", "Petrov", "Quist", "Rossi", "Sato")
}

func samplePerson(pad int) func(r *rand.Rand, i int) []byte {
	return func(r *rand.Rand, i int) []byte {
		given, surname := sampleName(r)
		uid := strings.ToLower(fmt.Sprintf("%s.%s.%07d", given, surname, i))
		words := make([]string, 16)
		for w := range words {
			words[w] = from(r, "quiet", "harbour", "signal", "ledger", "copper", "orchard", "window", "granite", "lantern", "meadow")
		}
		text := []string{strings.Join(words, " ")}
		if pad > 0 {
			text = append(text, letters(r, pad))
		}
		phone := func() string { return fmt.Sprintf("+49 %03d %07d", r.IntN(1000), r.IntN(10_000_000)) }
		var run dit.Run
		for _, a := range []struct {
			name   string
			values []string
		}{
			{"cn", []string{given + " " + surname}},
			{"departmentNumber", []string{fmt.Sprintf("D%03d", r.IntN(200))}},
			{"description", text},
			{"displayName", []string{given + " " + surname}},
			{"employeeNumber", []string{fmt.Sprint(i)}},
			{"employeeType", []string{"permanent"}},
			{"givenName", []string{given}},
			{"l", []string{from(r, "Aachen", "Bremen", "Cottbus", "Dresden", "Görlitz")}},
			{"mail", []string{uid + "@branch.example"}},
			{"manager", []string{"uid=anna.maier.0000000,ou=unit 0,dc=branch,dc=example"}},
			{"mobile", []string{phone()}},
			{"objectClass", []string{"top", "person", "organizationalPerson", "inetOrgPerson"}},
			{"postalCode", []string{fmt.Sprintf("%05d", r.IntN(100_000))}},
			{"roomNumber", []string{fmt.Sprintf("%d.%02d", 1+r.IntN(9), r.IntN(60))}},
			{"sn", []string{surname}},
			{"street", []string{fmt.Sprintf("%s %d", from(r, "Am Markt", "Bahnhofstrasse", "Domplatz", "Elbufer"), 1+r.IntN(99))}},
			{"telephoneNumber", []string{phone()}},
			{"title", []string{from(r, "Engineer", "Accountant", "Analyst", "Librarian")}},
			{"uid", []string{uid}},
		} {
			run = dit.AppendAttr(run, a.name, a.values...)
		}
		return sampleValue(r, fmt.Sprintf("uid=%s,ou=unit %d", uid, i/10_000), "inetOrgPerson", run)
	}
}

func sampleAccount(r *rand.Rand, i int) []byte {
	given, surname := sampleName(r)
	uid := strings.ToLower(given[:1]+surname) + fmt.Sprint(i%100)
	run := dit.AppendAttr(nil, "cn", given+" "+surname)
	run = dit.AppendAttr(run, "gecos", given+" "+surname+",,,")
	run = dit.AppendAttr(run, "gidNumber", fmt.Sprint(100+r.IntN(5)))
	run = dit.AppendAttr(run, "homeDirectory", "/home/"+uid)
	run = dit.AppendAttr(run, "loginShell", "/bin/bash")
	run = dit.AppendAttr(run, "objectClass", "account", "posixAccount", "shadowAccount", "top")
	run = dit.AppendAttr(run, "shadowLastChange", fmt.Sprint(19000+r.IntN(1000)))
	run = dit.AppendAttr(run, "uid", uid)
	run = dit.AppendAttr(run, "uidNumber", fmt.Sprint(10_000+i))
	return sampleValue(r, "uid="+uid+",ou=People", "account", run)
}

func sampleGroup(r *rand.Rand, i int) []byte {
	members := make([]string, 200)
	for m := range members {
		given, surname := sampleName(r)
		members[m] = fmt.Sprintf("uid=%s.%s.%07d,ou=unit %d,dc=branch,dc=example", strings.ToLower(given), strings.ToLower(surname), r.IntN(1e5), r.IntN(10))
	}
	run := dit.AppendAttr(nil, "cn", fmt.Sprintf("group %d", i))
	run = dit.AppendAttr(run, "member", members...)
	run = dit.AppendAttr(run, "objectClass", "groupOfNames", "top")
	return sampleValue(r, fmt.Sprintf("cn=group %d,ou=groups", i), "groupOfNames", run)
}

func sampleDevice(r *rand.Rand, i int) []byte {
	run := dit.AppendAttr(nil, "cn", fmt.Sprintf("host%05d", i))
	run = dit.AppendAttr(run, "ipHostNumber", fmt.Sprintf("10.%d.%d.%d", r.IntN(8), r.IntN(256), r.IntN(256)))
	run = dit.AppendAttr(run, "l", from(r, "rack 1", "rack 2"))
	run = dit.AppendAttr(run, "macAddress", fmt.Sprintf("52:54:00:%02x:%02x:%02x", r.IntN(256), r.IntN(256), r.IntN(256)))
	run = dit.AppendAttr(run, "objectClass", "top", "device", "ipHost", "ieee802Device")
	return sampleValue(r, fmt.Sprintf("cn=host%05d,ou=hosts", i), "device", run)
}

func sampleSchema(r *rand.Rand, i int) []byte {
	var types []string
	for t := range 30 {
		types = append(types, fmt.Sprintf("( 1.3.6.1.4.1.%d.%d NAME '%s' DESC '%s' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )",
			r.IntN(50_000), t, letters(r, 9), letters(r, 12)))
	}
	run := dit.AppendAttr(nil, "attributeTypes", types...)
	run = dit.AppendAttr(run, "cn", "schema")
	run = dit.AppendAttr(run, "objectClass", "top", "subentry", "subschema")
	return sampleValue(r, fmt.Sprintf("cn=schema%d", i), "subentry", run)
}

// sampleRandom is what nothing is to be made of.
func sampleRandom(r *rand.Rand, _ int) []byte {
	b := make([]byte, 700)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
