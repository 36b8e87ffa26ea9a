package upstream

import "time"

const (
	// busyMessages is how many messages of persist stages a connection brings in a second
	// before its reads are put off, so that several come at once: more than come from somebody who
	// looks at each change before he makes the next, and too few to cost much.
	busyMessages = 600
	// gather is how far apart reads are then. What it adds to a change's way is little
	// beside what so many changes add to each other's.
	gather = 10 * time.Millisecond
)

// pace decides when a busy connection is read next: one read, one hand-over and one commit for
// some changes cost little more than for one. Whoever sends few is read at once, and so is what a
// read may have left: over TLS that is not known, and no read is put off.
type pace struct {
	second time.Time // when the count began
	count  int       // messages of persist stages since
	busy   bool      // the second before had many
	last   time.Time // of the reads
}

// came notes a read: at what time, and how many messages of persist stages were in it. Others
// end it, since a refresh is to come as fast as it can.
func (p *pace) came(now time.Time, messages int, others bool) {
	p.last = now
	switch since := now.Sub(p.second); {
	case others:
		p.second, p.count, p.busy = now, 0, false
		return
	case since >= 2*time.Second:
		p.second, p.count, p.busy = now, 0, false
	case since >= time.Second:
		p.second, p.busy, p.count = now, p.count >= busyMessages, 0
	}
	p.count += messages
}

// pause is how long the next read waits; 0: not at all.
func (p *pace) pause(now time.Time) time.Duration {
	if !p.busy {
		return 0
	}
	return max(0, gather-now.Sub(p.last))
}
