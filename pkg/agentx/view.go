package agentx

import (
	"slices"
	"sort"
	"time"

	"github.com/posteo/go-agentx/value"
)

// view is all that a request may ask for, of one moment. It is never changed once it
// is made; ages alone are reckoned when they are read.
type view struct {
	at     time.Time // when it was taken
	tables []table   // by prefix
	alarms map[string]notice
}

// table is a block of cells. The OID of each, below the objects' root, is the prefix, the
// number of its column and the key of its row.
type table struct {
	prefix  []uint32
	columns []uint32 // ascending
	width   int      // of a key
	rows    int
	key     func(row int) key // ascending
	cell    func(now time.Time, column, row int) cell
}

// key tells a row from the others; a table uses the first ones of it.
type key [2]uint32

// get finds the cell of an OID. Without one, object tells whether there is its column.
func (v *view) get(rel []uint32, now time.Time) (c cell, object, found bool) {
	for i := range v.tables {
		t := &v.tables[i]
		rest, under := cut(rel, t.prefix)
		if !under || len(rest) == 0 {
			continue
		}
		column, there := slices.BinarySearch(t.columns, rest[0])
		if !there {
			return c, false, false
		}
		row := t.search(rest[1:], true)
		if row == t.rows || !slices.Equal(t.keyOf(row), rest[1:]) {
			return c, true, false
		}
		return t.cell(now, column, row), true, true
	}
	return c, false, false
}

// next finds the first cell behind an OID, or at it, where that is included.
func (v *view) next(rel []uint32, include bool, now time.Time) (at []uint32, c cell, found bool) {
	for i := range v.tables {
		t := &v.tables[i]
		column, row, found := t.next(rel, include)
		if found {
			at = append(append(append(at, t.prefix...), t.columns[column]), t.keyOf(row)...)
			return at, t.cell(now, column, row), true
		}
	}
	return nil, c, false
}

// next finds the place of the first cell behind, or at, an OID.
func (t *table) next(rel []uint32, include bool) (column, row int, found bool) {
	if t.rows == 0 || len(t.columns) == 0 {
		return 0, 0, false
	}
	rest, under := cut(rel, t.prefix)
	switch {
	case !under:
		return 0, 0, slices.Compare(rel, t.prefix) < 0
	case len(rest) == 0:
		return 0, 0, true
	}
	column, there := slices.BinarySearch(t.columns, rest[0])
	if there {
		if row = t.search(rest[1:], include); row < t.rows {
			return column, row, true
		}
		column++
	}
	return column, 0, column < len(t.columns)
}

// search gives the first row whose key is behind, or at, an index.
func (t *table) search(index []uint32, include bool) int {
	return sort.Search(t.rows, func(row int) bool {
		c := slices.Compare(t.keyOf(row), index)
		return c > 0 || c == 0 && include
	})
}

func (t *table) keyOf(row int) []uint32 {
	k := t.key(row)
	return k[:t.width]
}

// cut takes a prefix off.
func cut(oid, prefix []uint32) (rest []uint32, under bool) {
	if len(oid) < len(prefix) || !slices.Equal(oid[:len(prefix)], prefix) {
		return nil, false
	}
	return oid[len(prefix):], true
}

// below says where an OID lies towards a root: relative to it, before it, or behind all
// that is below it.
func below(oid, root value.OID) (rel []uint32, before, under bool) {
	if rel, under = cut(oid, root); under {
		return rel, false, true
	}
	return nil, slices.Compare(oid, root) < 0, false
}
