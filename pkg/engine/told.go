package engine

import (
	"fmt"
	"slices"
	"strings"

	"shaft/pkg/queue"
)

// told remembers the queues that operators looked at lately, so that one whose command
// comes too late is told what has changed since. The engine goroutine's.
type told struct {
	seen [maxTold]toldQueue
	next int
}

// maxTold is how many queues are remembered: more than people look at before one of them decides.
const maxTold = 256

type toldQueue struct {
	revision uint64
	name     *queue.Name // replaced by the queues, never changed
}

func (t *told) note(revision uint64, n *queue.Name) {
	if t.of(revision, n.Norm) == nil {
		t.seen[t.next] = toldQueue{revision, n}
		t.next = (t.next + 1) % maxTold
	}
}

// of gives the queue of a name as it was at a revision; nil where that is forgotten.
func (t *told) of(revision uint64, norm string) *queue.Name {
	for i := range t.seen {
		if s := &t.seen[i]; s.name != nil && s.revision == revision && s.name.Norm == norm {
			return s.name
		}
	}
	return nil
}

// asSeen refuses a command for a name whose queue is not what it was when somebody
// decided on it, and says what has changed; revision 0 is for whatever queue there is.
func (e *Engine) asSeen(text, norm string, revision uint64) error {
	now := e.state.Revision(norm)
	if revision == 0 || revision == now {
		return nil
	}
	n := e.state.Names[norm]
	is := "the name is gone"
	if n != nil {
		is = "it is now " + queueWords(n.Claims)
	}
	since := ""
	if was := e.told.of(revision, norm); was != nil && n != nil {
		since = ": " + changeWords(was, n)
	}
	return &queue.Refusal{Kind: queue.KindStale, Reason: fmt.Sprintf(
		"the queue of %s has changed since you looked at it%s; %s (revision %d, not %d): look again, and repeat the command if it is still wanted",
		text, since, is, now, revision)}
}

// maxQueueWords is how many claims of a queue are spelled out.
const maxQueueWords = 10

// queueWords lists a queue, head first.
func queueWords(claims []queue.ClaimID) string {
	words := make([]string, 0, maxQueueWords)
	for i, id := range claims[:min(len(claims), maxQueueWords)] {
		if i == 0 {
			id += " (head)"
		}
		words = append(words, string(id))
	}
	if more := len(claims) - maxQueueWords; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, ", ")
}

// changeWords says what became of a queue.
func changeWords(was, is *queue.Name) string {
	var words []string
	missing := func(from, in []queue.ClaimID) (out []queue.ClaimID) {
		for _, id := range from {
			if !slices.Contains(in, id) {
				out = append(out, id)
			}
		}
		return out
	}
	few := func(ids []queue.ClaimID, what string) {
		for i, id := range ids {
			if i == maxQueueWords {
				words = append(words, fmt.Sprintf("%d more %s", len(ids)-i, what))
				return
			}
			words = append(words, fmt.Sprintf("%s %s", id, what))
		}
	}
	left, joined := missing(was.Claims, is.Claims), missing(is.Claims, was.Claims)
	few(left, "left")
	few(joined, "joined")
	stayed := missing(was.Claims, left)
	switch {
	case was.Head() != is.Head():
		words = append(words, fmt.Sprintf("%s is the head instead of %s", is.Head(), was.Head()))
	case !slices.Equal(stayed, missing(is.Claims, joined)):
		words = append(words, "those that wait stand in another order")
	}
	if len(words) == 0 {
		return "a claim was taken away and came again, or is spelt otherwise"
	}
	return strings.Join(words, ", ")
}
