package queue

import (
	"fmt"
	"slices"
	"strings"
)

// tidy gives the event as it is applied and kept: each name once and as text,
// within bounds, and words for the others.
func (e EntryFound) tidy() EntryFound {
	names, problems := e.Names, slices.Clone(e.Problems)
	e.Names = nil
	seen := make(map[string]bool, len(names))
	left, bytes, each := 0, 0, nameBytes+jsonLen(e.DN)+5*len(e.List)
	for _, f := range names {
		switch {
		case f.Name == "" || f.Norm == "":
			problems = append(problems, "the name is empty")
			continue
		case !valid(f.Name, f.Norm):
			problems = append(problems, fmt.Sprintf("the name %.200q is not UTF-8", f.Name))
			continue
		case seen[f.Norm]:
			continue
		}
		seen[f.Norm] = true
		size := each + 4*jsonLen(f.Name) + 5*jsonLen(f.Norm)
		if len(e.Names) == MaxNames || bytes+size > maxEntryBytes {
			left++
			continue
		}
		bytes += size
		e.Names = append(e.Names, f)
	}
	if left > 0 {
		problems = append(problems, fmt.Sprintf("%d names are taken and %d more are not: an entry may have %d, fewer where they are long",
			len(e.Names), left, MaxNames))
	}
	e.Problems = fewProblems(problems)
	return e
}

// jsonLen is how many bytes a text takes in a record.
func jsonLen(text string) int { return len(encode(text)) }

// fewProblems gives each problem once, as text, in an order that does not
// depend on that of an entry's values, and within bounds. It changes its argument.
func fewProblems(problems []string) []string {
	for i, p := range problems {
		if problems[i] = clean(p); len(problems[i]) > maxProblem {
			const more = " …"
			problems[i] = strings.ToValidUTF8(problems[i][:maxProblem-len(more)], "") + more
		}
	}
	slices.Sort(problems)
	problems = slices.Compact(problems)
	if more := len(problems) - maxProblems; more > 0 {
		problems = append(problems[:maxProblems-1], fmt.Sprintf("… and %d more", more+1))
		slices.Sort(problems)
	}
	if len(problems) == 0 {
		return nil
	}
	return problems
}
