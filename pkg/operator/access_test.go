package operator

import (
	"context"
	"strings"
	"testing"

	"shaft/pkg/access"
)

// ExplainAccess answers as one rule for anonymous does.
func (f *fake) ExplainAccess(_ context.Context, dn string, as []string) (*access.Explanation, error) {
	f.asked("explain", dn, strings.Join(as, "|"))
	if f.err != nil {
		return nil, f.err
	}
	if dn == "cn=open" {
		return &access.Explanation{DN: dn, As: as, There: true, Level: "sync"}, nil
	}
	return &access.Explanation{DN: dn + ",ou=x", As: as, There: dn != "cn=gone", Level: "read", Rule: 2,
		Rules:      []access.RuleVerdict{{Rule: 1, Says: "users sync", Why: "it is for others"}, {Rule: 2, Says: "anonymous read", Matches: true}},
		Attributes: []access.AttributeVerdict{{Attribute: "cn", Level: "read", Rule: 2}, {Attribute: "userPassword", Level: "none"}}}, nil
}

// R45: shaft access explain asks as whom it is told, and prints which rule decided.
func TestAccessExplain(t *testing.T) {
	f := story()
	socket := served(t, f)
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"access", "explain", "cn=a", "--as", "anonymous"}, 0,
			[]string{"entry  cn=a,ou=x\n", "may    read, by rule 2\n", "1     users sync      no: it is for others\n", "2     anonymous read  yes\n", "userPassword  none: no rule gives more\n"}},
		{[]string{"access", "explain", "cn=gone", "--as", "dn:cn=b, o=c", "--as", "peer:192.0.2.7"}, 0, []string{"cn=gone,ou=x (not there)", "as     dn:cn=b, o=c peer:192.0.2.7"}},
		{[]string{"access", "explain", "cn=open", "--as", "users"}, 0, []string{"may    sync: there are no rules\n"}},
		{[]string{"access", "explain", "cn=a", "--as", "users", "-o", "json"}, 0, []string{`"level": "read"`, `"matches": true`}},
		{[]string{"access", "explain", "cn=a"}, 2, []string{"--as is needed"}},
		{[]string{"access", "explain"}, 2, nil},
		{[]string{"access", "explain", "cn=a", "--as", "a", "--as", "b", "--as", "c", "--as", "d"}, 1, []string{"more than 3 times"}},
	} {
		code, out, errs := shaft(socket, c.args...)
		out += errs
		if code != c.code {
			t.Errorf("%q: exit %d:\n%s", c.args, code, out)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%q: no %q in\n%s", c.args, want, out)
			}
		}
	}
	if got := f.calls[1]; got != "explain cn=gone dn:cn=b, o=c|peer:192.0.2.7" {
		t.Errorf("asked %q", got)
	}
}
