package operator

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The pages tell all that there is: each route with its method and parameters in
// http-api.md, each command, and each flag of its own, in cli.md; and no route besides.
func TestDocs(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	api, cli := read("http-api.md"), read("cli.md")
	for i := range routes {
		r := &routes[i]
		line := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(r.method+" "+r.path) + "` \\|.*$").FindString(api)
		if line == "" {
			t.Errorf("http-api.md lacks %s %s", r.method, r.path)
		}
		for _, p := range r.query {
			if p.name != dryRunParam.name && !strings.Contains(line, p.name+"=") {
				t.Errorf("http-api.md: %s %s lacks the parameter %s", r.method, r.path, p.name)
			}
		}
		if r.revised != strings.Contains(line, "If-Match") {
			t.Errorf("http-api.md: %s %s and If-Match: %v", r.method, r.path, r.revised)
		}
	}
	if n := len(regexp.MustCompile("(?m)^\\| `[A-Z]+ /").FindAllString(api, -1)); n != len(routes) {
		t.Errorf("http-api.md has %d routes, there are %d", n, len(routes))
	}
	for i := range commands {
		noun, verb, _ := strings.Cut(commands[i].verb, " ")
		if !regexp.MustCompile(`(?m)^    shaft ` + noun + `\b(.*\n {10,})?.*\b` + verb + `\b`).MatchString(cli) {
			t.Errorf("cli.md lacks %s", commands[i].verb)
		}
		for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(commands[i].args, -1) {
			if !strings.Contains(cli, flag) {
				t.Errorf("cli.md lacks %s of %s", flag, commands[i].verb)
			}
		}
	}
}
