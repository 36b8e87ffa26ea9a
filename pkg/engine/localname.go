package engine

import (
	"fmt"
	"regexp"
	"strings"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/rewrite"
)

// localName reads a name, relative to the base DN or absolute (R3).
func (e *Engine) localName(text string) (dit.DN, error) {
	if err := e.nameable(text); err != nil {
		return dit.DN{}, err
	}
	dn, err := dit.ParseDN(e.schema, text)
	if err != nil {
		return dit.DN{}, invalid("%w", err)
	}
	return e.below(dn, text)
}

// treeName is localName of a tree's name, which has no substitutions.
func (e *Engine) treeName(text string) (dit.DN, error) {
	if strings.Contains(text, "%(") {
		return dit.DN{}, invalid("name %.200q has substitutions; a tree has one name", text)
	}
	return e.localName(text)
}

// nameable refuses what can be neither name nor template.
func (e *Engine) nameable(text string) error {
	switch {
	case e.o.BaseDN.IsEmpty():
		return &queue.Refusal{Kind: queue.KindNoBase, Reason: errNoBase.Error()}
	case text == "":
		return invalid("a name is needed: a DN below the base DN, or of a list a template of them")
	case len(text) > maxName:
		return invalid("the name has %d bytes; at most %d are allowed", len(text), maxName)
	}
	return nil
}

// template reads a name that may have substitutions (R19).
func (e *Engine) template(text string) (*rewrite.Template, error) {
	if err := e.nameable(text); err != nil {
		return nil, err
	}
	t, err := rewrite.ParseTemplate(text)
	if err != nil {
		return nil, invalid("%w", err)
	}
	return t, nil
}

// substitutions are what a template's values stand for, and what stands for a %.
var substitutions = regexp.MustCompile(`%\([^)]*\)s|%%`)

// listTemplate reads a list's template. One that makes no name whatever the values
// are is refused now (R3).
func (e *Engine) listTemplate(text string) (t *rewrite.Template, warnings []string, err error) {
	if t, err = e.template(text); err != nil {
		return nil, nil, err
	}
	sample := substitutions.ReplaceAllStringFunc(text, func(s string) string {
		if s == "%%" {
			return "%"
		}
		return "x"
	})
	dn, err := dit.ParseDN(e.schema, sample)
	if err != nil {
		return nil, nil, invalid("template %.200q makes no DN: with x for each value, %w", text, err)
	}
	if _, err := e.below(dn, sample); err != nil {
		return nil, nil, invalid("template %.200q makes no name here: with x for each value, %w", text, err)
	}
	if t.IsConstant() {
		warnings = append(warnings, fmt.Sprintf(
			"template %q has no substitution: whatever the list finds claims this one name, and all but one wait; %%(attr.cn)s stands for an attribute's value", text))
	}
	return t, warnings, nil
}

// below places a name, relative or absolute, below the base DN; text is how it
// was written.
func (e *Engine) below(dn dit.DN, text string) (dit.DN, error) {
	base := e.o.BaseDN
	switch {
	case dn.Equal(base):
		return dit.DN{}, &queue.Refusal{Kind: queue.KindIsBase, Reason: fmt.Sprintf("%q is the base DN itself; give a name below it", text)}
	case dn.IsEmpty() || base.Under(dn):
		return dit.DN{}, outside("name %q is not below the base DN %q", text, base)
	case dn.Under(base):
		return dn, nil
	case absolute(dn, base):
		return dit.DN{}, outside("name %q does not lie below the base DN %q; if it is meant relative to it, write %q", text, base, dn.Join(base))
	}
	return dn.Join(base), nil
}

// absolute tells whether a DN that is not below the base looks like a whole one
// all the same: it ends as the base does, or, with several RDNs, in a
// country, domain or organization.
func absolute(dn, base dit.DN) bool {
	last := dn.RDN(dn.Len() - 1)
	if last.Norm == base.RDN(base.Len()-1).Norm {
		return true
	}
	if dn.Len() < 2 {
		return false
	}
	switch strings.ToLower(last.AVAs()[0].Type) {
	case "dc", "c", "o":
		return true
	}
	return false
}

func invalid(format string, args ...any) *queue.Refusal {
	return &queue.Refusal{Kind: queue.KindInvalid, Reason: fmt.Errorf(format, args...).Error()}
}

func outside(format string, args ...any) *queue.Refusal {
	return &queue.Refusal{Kind: queue.KindOutsideBase, Reason: fmt.Sprintf(format, args...)}
}
