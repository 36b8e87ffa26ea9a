package access

import (
	"runtime"

	"shaft/pkg/dit"
)

// View is what one entry, or every entry of a zone, is good for. It is
// immutable.
type View struct {
	steps []*rule // that say something, in order
	level Level
	least [Sync + 1]bool // every attribute is good for that level
	// suspect has, for each level, the marks of the names that may not be
	// good for it; all is that any name may be.
	suspect [Sync + 1]uint64
	all     [Sync + 1]bool
}

// Level is what the entry itself is good for: that it is there, and its DN.
func (v *View) Level() Level { return v.level }

// Whole tells whether every attribute that an entry could have is good for it.
func (v *View) Whole(l Level) bool { return v.least[l] }

// Of is what an attribute is good for.
func (v *View) Of(desc []byte) Level {
	level, _ := v.decide(desc)
	return level
}

// decide gives the rule too; nil when none matches.
func (v *View) decide(desc []byte) (Level, *rule) {
	for _, r := range v.steps {
		if r.attrs.has(desc) {
			return r.Allow, r
		}
	}
	return None, nil
}

// prepare looks ahead at what the steps make of any attribute.
func (v *View) prepare() {
	for l := None; l <= Sync; l++ {
		rest := None // what an attribute gets that no list names
		v.least[l] = true
		for _, r := range v.steps {
			if r.attrs.all {
				rest = r.Allow
			}
			if r.Allow >= l {
				continue
			}
			v.least[l] = false
			if !r.attrs.listed() {
				v.all[l] = true
			}
			for _, n := range r.attrs.names {
				v.suspect[l] |= marks(n.OID) | marks(n.Key())
				for _, name := range n.Names {
					v.suspect[l] |= marks(name)
				}
			}
		}
		if rest < l {
			v.least[l], v.all[l] = false, true
		}
	}
}

// Hides tells whether an attribute of the run is not good for that level. It
// costs little: most attributes are told by their first letters.
func (v *View) Hides(run dit.Run, l Level) bool {
	if v.least[l] {
		return false
	}
	if v.all[l] {
		for {
			desc, _, rest, ok := run.Next()
			if !ok {
				return false
			}
			if v.Of(desc) < l {
				return true
			}
			run = rest
		}
	}
	touch(run)
	suspect := v.suspect[l]
	for at := 0; at+6 <= len(run); { // a run is well formed, and has lengths that are minimal
		head, n := at+2, int(run[at+1])
		if n >= 0x80 {
			octets := n & 0x7f
			n = 0
			for _, o := range run[head : head+octets] {
				n = n<<8 | int(o)
			}
			head += octets
		}
		if run[head+1] >= 0x80 || suspect&mark(run[head+2], run[head+3]) != 0 {
			if name, _, _, _ := run[at:].Next(); v.Of(name) < l {
				return true
			}
		}
		at = head + n
	}
	return false
}

// touch reads a byte of each cache line, which asks memory for all of them at once: the walk from length to length
// waits for one after the other.
func touch(run dit.Run) {
	var all byte
	for at := 0; at < len(run); at += 64 {
		all |= run[at]
	}
	runtime.KeepAlive(all)
}

// mark is one bit of 64 for the first two letters of a name, in any case.
func mark(first, second byte) uint64 {
	return 1 << (((first|0x20)*5 + (second | 0x20)) & 63)
}

// marks are those that an attribute of that name may have: behind a name of one
// letter comes the tag of its values, or the option.
func marks(name string) uint64 {
	switch len(name) {
	case 0:
		return 0
	case 1:
		return mark(name[0], 0x31) | mark(name[0], ';')
	}
	return mark(name[0], name[1])
}

// Append copies the attributes of a run that are good for that level.
func (v *View) Append(dst, run dit.Run, l Level) dit.Run {
	for {
		desc, _, element, rest, ok := run.NextRaw()
		if !ok {
			return dst
		}
		if v.Of(desc) >= l {
			dst = append(dst, element...)
		}
		run = rest
	}
}
