package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// side is one of the two that are compared.
type side int

const (
	ours side = iota
	theirs
)

// row is one thing that is measured on both sides.
type row struct {
	name    string
	title   func(o options) string
	sides   [2]string // their names; "": Shaft and slapd
	figures []figure
	floors  map[string]float64 // by figure: the least that ours may be better by (-check)
	// ceilings are what ours may be at most, by figure (-check).
	ceilings map[string]float64
	long     bool // takes minutes: -check leaves it out, unless -only names it
	// turns is how often each side is measured in a round, for a part of the window each; told is the median of what
	// each turn's two give. For sides that differ by little: what else the machine does reaches both. 0: once.
	turns int
	once  bool // -check takes one round: its figures are sizes more than times
	// sample measures one side once; the values are in the order of figures.
	sample func(ctx context.Context, b *bench, s side) ([]float64, error)
}

// figure is one number of a row.
type figure struct {
	name string
	kind figureKind
}

type figureKind int

const (
	cost    figureKind = iota // less is better
	rate                      // more is better
	neutral                   // tells about the measurement; has no ratio
)

// rows have floors by one rule: what is promised of a figure, where 20,000 entries keep that, else four fifths of what they gave
// in CPU time, two thirds in wall time, which neighbours on the machine lengthen, and half in a 99th percentile; less where a load
// of 12 by others changes the ratio itself.
var rows = []row{refreshRow, reloadRow,
	searchRow("base-1", base1Title, beside, least{1.9, 2}, baseLoad(1)),
	searchRow("base-16", base16Title, beside, least{3.4, 5}, baseLoad(16)),
	searchRow("equality", equalityTitle, beside, least{1.4, 2}, equalityLoad),
	listRow("list", listTitle, beside, least{6, 10}, listLoad),
	searchRow("rules-base-1", base1Title, ruled, rulesFloor, baseLoad(1)),
	searchRow("rules-base-16", base16Title, ruled, rulesFloor, baseLoad(16)),
	searchRow("rules-equality", equalityTitle, ruled, rulesFloor, equalityLoad),
	listRow("rules-list", listTitle, ruled, rulesListFloor, listLoad),
	searchRow("busy-base-1", base1Title, busy, least{1.1, 2}, baseLoad(1)),
	searchRow("busy-base-16", base16Title, busy, least{2.3, 4.5}, baseLoad(16)),
	listRow("busy-list", listTitle, busy, least{6, 12}, listLoad),
	searchRow("paced-base-1", base1Title, paced, pacedFloor, baseLoad(1)),
	searchRow("paced-base-16", base16Title, paced, pacedFloor, baseLoad(16)),
	searchRow("paced-equality", equalityTitle, paced, pacedFloor, equalityLoad),
	listRow("paced-list", listTitle, paced, pacedFloor, listLoad),
	searchRow("paced-substring", substringTitle+" everything, one connection", paced, pacedFloor, scanLoad(substringQuery)),
	searchRow("paced-unindexed", unindexedTitle+" everything, one connection", paced, pacedFloor, scanLoad(unindexedQuery)),
	listRow("paced-dump", func(c content) string { return dumpTitle + " " + entriesOf(c) }, paced, pacedFloor, dumpLoad),
	scanRow("substring", substringTitle, 5, least{1.4, 1.4}, one, substringQuery),
	scanRow("unindexed", unindexedTitle, 5, least{1.5, 1.8}, one, unindexedQuery),
	scanRow("dump", dumpTitle, 2, least{8, 10}, content.total, dumpQuery),
	fanOutRow("fan-out", "%d changes of one entry to %d followers, %d of which never read", true, 5),
	fanOutRow("fan-out-many", "%d changes, each of another entry, to %d followers, %d of which never read", false, 4),
	idleRow, presentRow,
	delayRow("change", "from a change at slapd to a persist follower of its copy, both of which fsync", 1, "", soon{0.63, 0.45, 0.68}, watchFollow),
	delayRow("change-8", "the same, 8 sources changing at once, a follower for each", manySources, "", soon{0.75, 0.5, 1.5}, watchFollow),
	delayRow("change-unsynced", "from a change at slapd to a persist follower of its copy (Shaft fsyncs, slapd has dbnosync)", 1, unsynced, soon{0.5, 0.4, 0.45}, watchFollow),
	delayRow("change-unsynced-8", "the same, 8 sources changing at once, a follower for each", manySources, unsynced, soon{0.58, 0.5, 0.9}, watchFollow),
	delayRow("change-search", "from a change at slapd to a search of its copy that shows it (Shaft fsyncs, slapd has dbnosync)", 1, unsynced, soon{0.5, 0.3, 0.5}, watchSearch),
	delayRow("change-search-8", "the same, 8 sources changing at once, searches for each", manySources, unsynced, soon{0.7, 0.45, 1}, watchSearch),
	tlsRow("tls", "new connections with TLS, 8 at the same time, no session resumed", false),
	tlsRow("tls-resumed", "new connections with TLS, 8 at the same time, sessions resumed", true),
	snmpRow,
	growRow,
	fleetRow,
}

const (
	base1Title     = "base search of one entry, 8 connections, one request at a time on each"
	base16Title    = "base search of one entry, 8 connections, 16 requests under way on each"
	equalityTitle  = "(uid=…) below the suffix, one hit, 8 connections, one request at a time on each"
	substringTitle = "(mail=*…*), one hit of"
	unindexedTitle = "(employeeNumber=…), which nothing indexes, one hit of"
	dumpTitle      = "search that returns everything,"
	// ruledTurns is a row.turns: the least that rules may cost is less than what the machine's other work does to a second.
	ruledTurns = 10
)

// least is what ours has to be better by.
type least struct{ wall, cpu float64 }

var (
	// rulesFloor leaves ten access rules a tenth of the CPU time; a listing costs more, since each of its
	// entries is looked at, and almost nothing else is done for it.
	rulesFloor, rulesListFloor = least{0.75, 0.9}, least{0.7, 0.8}
	// pacedFloor is what is left of searches while many changes come.
	pacedFloor = least{0.5, 0.8}
)

func listTitle(c content) string {
	return fmt.Sprintf("search that returns an ou with its %s people, one connection", number(float64(c.inUnit())))
}

func entriesOf(c content) string { return number(float64(c.total())) + " entries, one connection" }

func rowNames() string {
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.name
	}
	return strings.Join(names, ", ")
}

func wanted(o options) []row {
	var out []row
	for _, r := range rows {
		checked := len(r.floors)+len(r.ceilings) > 0 && !(r.long && o.only.String() == "")
		if o.only.MatchString(r.name) && (checked || !o.check) {
			out = append(out, r)
		}
	}
	return out
}

// bench holds what all rows share.
type bench struct {
	o         options
	dir       string
	machine   machine
	content   content
	shaft     string // the program
	provider  *slapd
	copy      *shaft        // serves searches; started by the first row that needs it
	guarded   *shaft        // the same under access rules
	source    *slapd        // changes when told to; see runSource
	following *shaft        // copies source
	consumer  *slapd        // copies the provider, for reloads
	sources   []*slapd      // whose changes are watched; started by the first rows that need them
	lead      time.Duration // see pacingLead
	window    time.Duration // that a load is measured for in this row
	round     int
	row       string
	held      held    // by the Shaft that grew last
	empty     float64 // anonymous memory of a Shaft with nothing in it, MiB; 0: not measured yet
}

// newBench builds Shaft, loads the provider and starts it.
func newBench(ctx context.Context, o options) (b *bench, err error) {
	if err := needTools(); err != nil {
		return nil, err
	}
	b = &bench{o: o, content: o.content(), lead: pacingLead}
	if b.dir, err = os.MkdirTemp("", "shaft-bench"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.machine, err = thisMachine(); err != nil {
		return b, err
	}
	if b.shaft, err = buildShaft(ctx, b.dir, o.profiles); err != nil {
		return b, err
	}
	if b.provider, err = newProvider(ctx, b.dir, b.content); err != nil {
		return b, err
	}
	return b, nil
}

// close stops what still runs and removes the files.
func (b *bench) close() {
	for _, s := range []*shaft{b.copy, b.guarded, b.following} {
		if s != nil {
			s.stop()
		}
	}
	for _, p := range append(b.sources, b.provider, b.consumer, b.source) {
		if p != nil && p.process != nil {
			p.stop()
		}
	}
	os.RemoveAll(b.dir) //nolint:errcheck // in the directory for temporary files
}

// measure takes the sides in turns; who begins changes with the round.
func (b *bench) measure(ctx context.Context, r row) (*result, error) {
	turns := max(1, r.turns)
	res := &result{row: r.name, title: r.title(b.o), sides: r.names(), figures: r.figures, floors: r.floors, ceilings: r.ceilings, paired: turns > 1}
	b.row, b.window = r.name, b.o.window/time.Duration(turns)
	rounds := b.o.rounds * turns
	if r.once && b.o.check {
		rounds = turns
	}
	for b.round = 1; b.round <= rounds; b.round++ {
		for i := range 2 {
			s := side((b.round + 1 + i) % 2)
			fmt.Fprintf(os.Stderr, "%s: round %d of %d, %s\n", r.name, b.round, rounds, res.sides[s])
			values, err := r.sample(ctx, b, s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", res.sides[s], err)
			}
			res.samples[s] = append(res.samples[s], values)
		}
	}
	return res, nil
}

func (r *row) names() [2]string {
	if r.sides == [2]string{} {
		return [2]string{"Shaft", "slapd"}
	}
	return r.sides
}

func (s side) String() string {
	if s == ours {
		return "shaft"
	}
	return "slapd"
}

// tempDir makes a directory for one server.
func (b *bench) tempDir(name string) (string, error) { return os.MkdirTemp(b.dir, name) }

// profileName names the profile of what is measured now.
func (b *bench) profileName() string { return fmt.Sprintf("%s-%d", b.row, b.round) }
