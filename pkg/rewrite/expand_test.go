package rewrite

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

var bundled = schema.Bundled()

func parseDN(t testing.TB, text string) dit.DN {
	t.Helper()
	dn, err := dit.ParseDN(bundled, text)
	if err != nil {
		t.Fatal(err)
	}
	return dn
}

// run makes attributes of "name: value" lines; equal names join.
func run(lines ...string) dit.Run {
	var out dit.Run
	for i := 0; i < len(lines); {
		name, _, _ := strings.Cut(lines[i], ": ")
		var values []string
		for ; i < len(lines) && strings.HasPrefix(lines[i], name+": "); i++ {
			values = append(values, lines[i][len(name)+2:])
		}
		out = dit.AppendAttr(out, name, values...)
	}
	return out
}

// show is the reverse of run.
func show(t testing.TB, r dit.Run) []string {
	t.Helper()
	if err := r.Check(); err != nil {
		t.Fatalf("malformed attributes: %v", err)
	}
	var out []string
	for {
		desc, vals, rest, ok := r.Next()
		if !ok {
			return out
		}
		for len(vals) > 0 {
			_, v, more, err := ber.Next(vals)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(desc)+": "+string(v))
			vals = more
		}
		r = rest
	}
}

// R19, R20: every combination of values, each name once, escaped.
func TestR20Expand(t *testing.T) {
	tests := []struct {
		name, template, dn string
		user               dit.Run
		want               []string
	}{
		{"constant", "cn=SuSe", "o=x", nil, []string{"cn=SuSe"}},
		{"the story's", "cn=RedHat %(attr.distro)s", "distro=RHEL,o=RedHat,c=US", run("distro: RHEL"),
			[]string{"cn=RedHat RHEL"}},
		{"percent", "cn=100%% %(attr.distro)s", "o=x", run("distro: %(attr.o)s"), []string{"cn=100% %(attr.o)s"}},
		{"several values", "cn=%(attr.cn)s", "o=x", run("cn: b", "cn: a"), []string{"cn=b", "cn=a"}},
		{"all combinations", "cn=%(attr.cn)s-%(attr.l)s", "o=x", run("cn: a", "cn: b", "l: 1", "l: 2"),
			[]string{"cn=a-1", "cn=a-2", "cn=b-1", "cn=b-2"}},
		{"the same attribute twice", "cn=%(attr.cn)s %(attr.commonName)s", "o=x", run("cn: a", "cn: b"),
			[]string{"cn=a a", "cn=b b"}},
		{"an unknown one twice", "cn=%(attr.distro)s %(attr.DISTRO)s", "o=x", run("distro: a", "distro: b"),
			[]string{"cn=a a", "cn=b b"}},
		{"each name once", "ou=%(attr.cn)s%(attr.l)s", "o=x", run("cn: a", "cn: aB", "l: bc", "l: C"),
			[]string{"ou=abc", "ou=aC", "ou=aBbc"}},
		{"options do not matter", "cn=%(attr.cn)s", "o=x", run("cn;lang-en: a", "cn: b"), []string{"cn=a", "cn=b"}},
		{"an alias", "cn=%(attr.2.5.4.3)s", "o=x", run("commonName: a"), []string{"cn=a"}},
		{"escaped", "cn=%(attr.cn)s", "o=x", run(`cn: a,b+c"d\e<f>g;h`), []string{`cn=a\,b\+c\"d\\e\<f\>g\;h`}},
		{"escaped ends", "cn=%(attr.cn)s", "o=x", run("cn: #a ", "cn:  b"), []string{`cn=\#a\ `, `cn=\ b`}},
		{"own RDN", "cn=%(rdn0.cn)s", "cn=Wheezy,dc=debian,dc=org", nil, []string{"cn=Wheezy"}},
		{"parent's RDN", "cn=%(rdn1.dc)s %(rdn0.cn)s", "cn=Wheezy,dc=debian,dc=org", nil, []string{"cn=debian Wheezy"}},
		{"grandparent's RDN", "cn=%(rdn2.domainComponent)s", "cn=Wheezy,dc=debian,dc=org", nil, []string{"cn=org"}},
		{"unescaped and escaped again", "cn=%(rdn0.cn)s", `cn=a\,b\20,o=x`, nil, []string{`cn=a\,b\ `}},
		{"multi-valued RDN", "cn=%(rdn0.cn)s.%(rdn0.uid)s", "uid=1+cn=a,o=x", nil, []string{"cn=a.1"}},
		{"the same type twice in an RDN", "cn=%(rdn0.cn)s", "cn=a+cn=b,o=x", nil, []string{"cn=a", "cn=b"}},
		{"several RDNs deep", "cn=%(rdn0.cn)s,ou=%(rdn1.ou)s", "cn=a,ou=b,o=x", nil, []string{"cn=a,ou=b"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tpl, err := ParseTemplate(test.template)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tpl.Expand(bundled, Source{DN: parseDN(t, test.dn), User: test.user})
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
			for _, name := range got {
				parseDN(t, name)
			}
		})
	}
}

// R20: none makes no name, and the error says which part has none. Too many are refused.
func TestR20ExpandErrors(t *testing.T) {
	var many []string
	for i := range 32 {
		many = append(many, fmt.Sprint("cn: ", i))
	}
	for i := range 32 {
		many = append(many, fmt.Sprint("l: ", i))
	}
	tests := []struct {
		template string
		user     dit.Run
		words    string
	}{
		{"cn=%(attr.distro)s", run("cn: a"), "%(attr.distro)s has no value: the entry has no attribute distro"},
		{"cn=%(attr.cn)s %(attr.l)s", run("cn: a"), "%(attr.l)s has no value"},
		{"cn=%(rdn0.ou)s", nil, `%(rdn0.ou)s has no value: the RDN "cn=x" has no attribute ou`},
		{"cn=%(rdn2.o)s", nil, "%(rdn2.o)s has no value: the entry's DN has only 2 RDNs"},
		{"cn=%(attr.cn)s%(attr.l)s", run(many...), "more than 1000 names"},
		{"cn=%(attr.cn)s", run("cn: " + strings.Repeat("x", MaxNameLen+1)), "a value of 8193 bytes"},
		{"cn=%(attr.cn)s", run("cn: " + strings.Repeat("x", MaxNameLen-1)), "a name of 8194 bytes"},
	}
	for _, test := range tests {
		tpl, err := ParseTemplate(test.template)
		if err != nil {
			t.Fatal(err)
		}
		names, err := tpl.Expand(bundled, Source{DN: parseDN(t, "cn=x,o=y"), User: test.user})
		if err == nil || names != nil || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: got %q, %v, want %q", test.template, names, err, test.words)
		}
	}
	tpl, err := ParseTemplate("cn=%(attr.cn)s,l=%(attr.l)s")
	if err != nil {
		t.Fatal(err)
	}
	names, err := tpl.Expand(bundled, Source{User: run(append(many[:31], many[32:]...)...)})
	if err != nil || len(names) != 31*32 {
		t.Errorf("%d names, %v", len(names), err)
	}
}
