package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

// suffix is that of the provider that most rows use.
const suffix = "dc=bench,dc=example"

// perUnit is how many people an ou has: a listing of one returns them all.
const perUnit = 10_000

// content describes made-up people, the same for the same seed: each of them can
// be made without the others.
//
//	dc=bench,dc=example
//	  ou=unit 0
//	    uid=anna.maier.0000000 …
type content struct {
	seed   uint64
	people int
	top    string // above the people, a dc; "": suffix
	pad    int    // bytes of random letters in each person beyond those of attributes
}

func (c content) suffix() string {
	if c.top == "" {
		return suffix
	}
	return c.top
}

// units is how many ous there are, total how many entries.
func (c content) units() int { return (c.people + perUnit - 1) / perUnit }
func (c content) total() int { return 1 + c.units() + c.people }

// inUnit is how many people are in the first ou.
func (c content) inUnit() int { return min(c.people, perUnit) }

func (c content) unit(i int) string { return fmt.Sprintf("ou=unit %d", i) }

var (
	givenNames = []string{"Anna", "Bela", "Carla", "Dmitri", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jun", "Katja", "Liam", "Mona", "Nils", "Olga", "Pavel"}
	surnames   = []string{"Maier", "Okafor", "Petrov", "Quist", "Rossi", "Sato", "Tanaka", "Ulrich", "Varga", "Weber", "Xu", "Yilmaz", "Zeman", "Adler", "Bauer", "Costa"}
	towns      = []string{"Aachen", "Bremen", "Cottbus", "Dresden", "Erfurt", "Frankfurt", "Görlitz", "Halle"}
	streets    = []string{"Am Markt", "Bahnhofstrasse", "Chausseestrasse", "Domplatz", "Elbufer", "Feldweg"}
	titles     = []string{"Engineer", "Accountant", "Analyst", "Librarian", "Physician", "Machinist"}
	filler     = []string{"quiet", "harbour", "signal", "ledger", "copper", "orchard", "window", "granite", "lantern", "meadow"}
)

// person is one entry.
type person struct {
	uid, given, surname string
	rng                 *rand.Rand // goes on where uid, given and surname ended
}

func (c content) person(i int) person {
	r := rand.New(rand.NewPCG(c.seed, uint64(i)))
	p := person{given: pick(r, givenNames), surname: pick(r, surnames), rng: r}
	p.uid = strings.ToLower(fmt.Sprintf("%s.%s.%07d", p.given, p.surname, i))
	return p
}

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

// uid is person i's.
func (c content) uid(i int) string { return c.person(i).uid }

// rdns is person i's name below the suffix.
func (c content) rdns(i int) string { return "uid=" + c.uid(i) + "," + c.unit(i/perUnit) }

type attribute struct{ name, value string }

// attributes are person i's: about 600 bytes of names and values.
func (c content) attributes(i int) []attribute {
	p := c.person(i)
	r := p.rng
	phone := func() string { return fmt.Sprintf("+49 %03d %07d", r.IntN(1000), r.IntN(10_000_000)) }
	manager := i / perUnit * perUnit // the first of the ou
	words := make([]string, 16)
	for w := range words {
		words[w] = pick(r, filler)
	}
	town := pick(r, towns)
	out := []attribute{
		{"objectClass", "top"}, {"objectClass", "person"},
		{"objectClass", "organizationalPerson"}, {"objectClass", "inetOrgPerson"},
		{"uid", p.uid},
		{"cn", p.given + " " + p.surname},
		{"sn", p.surname},
		{"givenName", p.given},
		{"displayName", p.given + " " + p.surname},
		{"mail", p.uid + "@bench.example"},
		{"employeeNumber", fmt.Sprint(i)},
		{"employeeType", "permanent"},
		{"departmentNumber", fmt.Sprintf("D%03d", r.IntN(200))},
		{"roomNumber", fmt.Sprintf("%d.%02d", 1+r.IntN(9), r.IntN(60))},
		{"title", pick(r, titles)},
		{"telephoneNumber", phone()},
		{"mobile", phone()},
		{"street", fmt.Sprintf("%s %d", pick(r, streets), 1+r.IntN(99))},
		{"l", town},
		{"postalCode", fmt.Sprintf("%05d", r.IntN(100_000))},
		{"manager", c.rdns(manager) + "," + c.suffix()},
		{"description", strings.Join(words, " ")},
	}
	if c.pad > 0 {
		out = append(out, attribute{"description", padding(r, c.pad)})
	}
	return out
}

// padding is what no compression makes much of.
func padding(r *rand.Rand, n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	out := make([]byte, n)
	for i := range out {
		out[i] = letters[r.IntN(len(letters))]
	}
	return string(out)
}

// writeLDIF writes everything for slapadd. A town that is not ASCII is left as
// it is: slapadd takes UTF-8.
func (c content) writeLDIF(out io.Writer) error {
	w := bufio.NewWriter(out)
	rdn, _, _ := strings.Cut(c.suffix(), ",")
	fmt.Fprintf(w, "dn: %s\nobjectClass: dcObject\nobjectClass: organization\ndc: %s\no: Bench\n\n", c.suffix(), strings.TrimPrefix(rdn, "dc="))
	for u := range c.units() {
		fmt.Fprintf(w, "dn: %s,%s\nobjectClass: organizationalUnit\nou: %s\n\n", c.unit(u), c.suffix(), strings.TrimPrefix(c.unit(u), "ou="))
	}
	for i := range c.people {
		fmt.Fprintf(w, "dn: %s,%s\n", c.rdns(i), c.suffix())
		for _, a := range c.attributes(i) {
			fmt.Fprintf(w, "%s: %s\n", a.name, a.value)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}
