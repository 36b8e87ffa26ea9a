package main

import (
	"image"
	"image/color"
	"maps"
	"slices"
	"strings"
	"testing"
)

// A dashboard passes that shows each figure, and those that are known as they are.
func TestDashboardLacks(t *testing.T) {
	full := map[string]string{}
	for _, title := range figures {
		full[title] = "1"
	}
	full["Base DN"] = base
	values := map[string]string{"Base DN": base, "Names": "1"}
	if why := lacks(full, values); why != "" {
		t.Error(why)
	}
	for _, c := range []struct{ title, value, want string }{
		{"Uptime", "No data", "Uptime shows"},
		{"Version", "", "Version shows"},
		{"Names", "2", `Names shows "2", and not "1"`},
		{"Another", "1", "wanted:"},
	} {
		shown := maps.Clone(full)
		shown[c.title] = c.value
		if why := lacks(shown, values); !strings.Contains(why, c.want) {
			t.Errorf("%s is %q: %q", c.title, c.value, why)
		}
	}
	if lacks(nil, values) == "" {
		t.Error("an empty dashboard passes")
	}
}

// The figures that are looked for are those of the template's dashboard.
func TestFiguresAreTheTemplates(t *testing.T) {
	_, e := readTemplate(t)
	dashboards := e.Zabbix.Templates[0].Dashboards
	if len(dashboards) != 1 || len(dashboards[0].Pages) != 2 {
		t.Fatalf("the dashboards are %+v", dashboards)
	}
	var titles []string
	for _, w := range dashboards[0].Pages[0].Widgets {
		if w.Type == "ITEM" {
			titles = append(titles, w.Name)
		}
	}
	if !slices.Equal(titles, figures) {
		t.Errorf("the widgets are %q", titles)
	}
}

func TestBlank(t *testing.T) {
	p := image.NewRGBA(image.Rect(0, 0, 3, 3))
	if !blank(p) || !blank(image.NewRGBA(image.Rectangle{})) {
		t.Error("a picture of one colour shows something")
	}
	p.Set(2, 2, color.White)
	if blank(p) {
		t.Error("a picture with a dot shows nothing")
	}
}
