package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// pictures shows what there is to see while all is wrong.
func (st *stage) pictures() {
	_, names := st.there()
	st.reads("shaft.names", fmt.Sprint(len(names)))
	version, _, _ := st.w.item("shaft.version")
	b := startBrowser(st.run, 1700, 1250)
	defer b.close()
	b.login(st.w.web)
	b.open(st.w.web+"zabbix.php?action=problem.view&show=1&show_timeline=0&show_tags=0&compact_view=0&sort=severity&sortorder=DESC", "document.querySelectorAll('.problem-severity, .disaster-bg').length > 0")
	b.shoot("problems")
	b.open(st.w.web+"zabbix.php?action=host.dashboard.view&from=now-15m&to=now&hostid="+st.w.host, "document.querySelectorAll('.dashboard-grid-widget').length > 5")
	b.eval("(s => s.innerText.includes('Stop') && s.click())(document.querySelector('.dashboard-toggle-slideshow'))") // else the page turns by itself
	st.holds(patience, "the dashboard shows each figure", func() string {
		return lacks(b.widgets(), map[string]string{"Version": version, "Base DN": base, "Names": fmt.Sprint(len(names))})
	})
	b.until(graphs(2))
	b.shoot("dashboard")
	b.eval("document.querySelectorAll('.dashboard-navigation-tabs .sortable-item')[1].querySelector('span').click()")
	st.holds(patience, "its second page has a graph of each name", func() string {
		text := b.eval("document.querySelector('.dashboard-grid').innerText")
		for _, name := range names {
			if !strings.Contains(text, "Name "+name+": Entries") || strings.Contains(text, "No data") {
				return name + " is not on it, or something has no data:\n" + text
			}
		}
		return ""
	})
	b.until(graphs(len(names)))
	b.shoot("names")
	b.open(st.w.web+"zabbix.php?action=latest.view&hostids%5B%5D="+st.w.host+"&name=SuSe&filter_set=1", "document.body.innerText.includes('Overlap')")
	b.shoot("latest")
}

// graphs is true of a page on which so many graphs are drawn.
func graphs(n int) string {
	return fmt.Sprintf("(g => g.length === %d && g.every(i => i.complete && i.naturalWidth > 1))([...document.querySelectorAll('.dashboard-grid .flickerfreescreen img')])", n)
}

// figures are the widgets of the dashboard's first page that show one value each.
var figures = []string{"Alarms, not acknowledged", "Alarms", "Names", "Subscriptions", "Entries", "Followers",
	"Ready", "SNMP agent", "Uptime", "Age of what is shown", "Version", "Base DN"}

// widgets reads what those of the page show, by their titles.
func (b *browser) widgets() map[string]string {
	text := b.eval(`JSON.stringify(Object.fromEntries([...document.querySelectorAll('.dashboard-grid-widget')].filter(w => w.querySelector('.item-value'))
		.map(w => [w.querySelector('h4').textContent, w.querySelector('.item-value').innerText.replace(/\s+/g, ' ').trim()])))`)
	shown := map[string]string{}
	if text != "" {
		b.r.must(json.Unmarshal([]byte(text), &shown))
	}
	return shown
}

// lacks tells what a dashboard does not show: all figures, and these values; "" if it shows them.
func lacks(shown, values map[string]string) string {
	if why := differ("widgets", slices.Collect(maps.Keys(shown)), figures); why != "" {
		return why
	}
	for _, title := range figures {
		value, known := values[title]
		if got := shown[title]; got == "" || strings.Contains(got, "No data") || known && got != value {
			return fmt.Sprintf("%s shows %q, and not %q", title, got, value)
		}
	}
	return ""
}
