package store

import (
	"errors"
	"fmt"

	"shaft/pkg/dit"
)

// Claim is the durable state of one claim's content.
type Claim struct {
	ID         uint32
	Generation uint32 // committed; 0: nothing yet
	Cookie     []byte // nil when damaged: the content no longer bears it out
	Server     string // that gave the cookie
	Count      int    // entries
	Damaged    bool   // count or checksum did not agree, or records were corrupt; until the next CommitStage
}

// Item is one stored entry as read back.
type Item struct {
	Claim uint32
	UUID  dit.UUID // upstream's
	Gen   uint32
	CSN   dit.CSN
	// Changed is the CSN of its latest change; CSN is newer where a restore has dated all anew.
	Changed dit.CSN
	Value   []byte // good until the callback returns
}

// Put is an entry to be written. Whatever older generations of it are there
// are removed with it.
type Put struct {
	Claim uint32
	UUID  dit.UUID
	Gen   uint32 // of the record it replaces or creates; at most the claim's committed generation
	CSN   dit.CSN
	Value []byte
}

// Key names a stored entry.
type Key struct {
	Claim uint32
	UUID  dit.UUID
	Gen   uint32
}

// Record is a named record; a nil Value removes it.
type Record struct {
	Name  string
	Value []byte
}

// PublishedAs is a line of the published-UUID map; a zero Published removes it.
type PublishedAs struct {
	Claim               uint32
	Upstream, Published dit.UUID
}

// Batch is one atomic commit. Deletes are done before Puts. Entries, cookies,
// records and journal lines are bounded by MaxBatchChanges and MaxBatchBytes:
// beyond that Commit fails with ErrTooBig and has changed nothing. Changes and
// Published may be of any number.
type Batch struct {
	CSN       dit.CSN // newest CSN in it; 0: no new one
	Puts      []Put
	Deletes   []Key   // an absent one is not an error
	Cookies   []Claim // Cookie, Server of each; Generation, Count ignored
	Records   []Record
	Journal   [][]byte
	Changes   []Change // in order of CSN, all above LastCSN
	Published []PublishedAs
}

// Bounds of a batch, beyond a single change of any size. Badger's transaction
// holds 15 % of a memtable, 1.2 MB.
const (
	MaxBatchChanges = 1000    // puts and deletes
	MaxBatchBytes   = 1 << 20 // keys and values
)

// MaxValue bounds one value: badger takes no more than a value log file, 64 MB.
const MaxValue = 60<<20 + 64<<10

// maxBatchLines bounds records, journal lines and cookies together: badger
// counts at most 13,000 keys into a transaction.
const maxBatchLines = 4000

// recordOverhead is what a key costs beyond its bytes, generously.
const recordOverhead = 48

// opOverhead is what badger counts for a key beyond its bytes, and a little more.
const opOverhead = 24

// maxName bounds a record's name; badger's keys have at most 65,000 bytes.
const maxName = 32 << 10

// ErrTooBig says that a batch must be split, or that one value is beyond MaxValue.
var ErrTooBig = errors.New("batch too big for one transaction")

// bytes is what the batch brings, about.
func (b *Batch) bytes() int64 {
	n := b.bulk()
	for i := range b.Puts {
		n += len(b.Puts[i].Value) + 2*contentKeyLen
	}
	for _, c := range b.Cookies {
		n += len(c.Cookie) + len(c.Server)
	}
	for _, r := range b.Records {
		n += len(r.Name) + len(r.Value)
	}
	for _, line := range b.Journal {
		n += len(line)
	}
	return int64(n)
}

// size checks the batch's bounds and gives the bytes that must go into its
// transaction; Changes and Published are not counted.
func (b *Batch) size() (int, error) {
	if n := len(b.Puts) + len(b.Deletes); n > MaxBatchChanges {
		return 0, fmt.Errorf("%d changes: %w", n, ErrTooBig)
	}
	if n := len(b.Records) + len(b.Journal) + len(b.Cookies); n > maxBatchLines {
		return 0, fmt.Errorf("%d records: %w", n, ErrTooBig)
	}
	total, largest := 0, 0
	add := func(key, value int) {
		total += key + value + recordOverhead
		largest = max(largest, value)
	}
	for i := range b.Puts {
		add(2*contentKeyLen, len(b.Puts[i].Value))
	}
	for range b.Deletes {
		add(2*contentKeyLen, 0)
	}
	for i := range b.Cookies {
		add(5, len(b.Cookies[i].Cookie)+len(b.Cookies[i].Server))
	}
	for _, r := range b.Records {
		if len(r.Name) > maxName {
			return 0, fmt.Errorf("record name of %d bytes, at most %d", len(r.Name), maxName)
		}
		add(len(r.Name), len(r.Value))
	}
	for _, line := range b.Journal {
		add(9, len(line))
	}
	if largest > MaxValue {
		return 0, fmt.Errorf("value of %d bytes, at most %d: %w", largest, MaxValue, ErrTooBig)
	}
	if len(b.Puts)+len(b.Deletes) <= 1 {
		total -= largest
	}
	if total > MaxBatchBytes {
		return 0, fmt.Errorf("%d bytes: %w", total, ErrTooBig)
	}
	return total, nil
}
