package queue

import (
	"fmt"
	"hash/fnv"
)

// revisionBits is how much of a hash makes a revision: what a number in JSON
// carries without loss.
const revisionBits = 52

// Revision is a number that is another whenever the queue of a name is: who
// stands in it, in which order, and how they spell the name. It stands for
// the queue as it is, so that it is the same after a restart, and again once a queue is
// again what it was. 0 where there is no such name, and never else.
func (s *State) Revision(norm string) uint64 {
	n := s.Names[norm]
	if n == nil {
		return 0
	}
	h := fnv.New64a()
	for _, id := range n.Claims {
		c := s.Claims[id]
		fmt.Fprintf(h, "%q %d %q\n", id, c.Number, c.Name)
	}
	return max(1, h.Sum64()>>(64-revisionBits))
}
