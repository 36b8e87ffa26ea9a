package test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// snmpObjects is where SHAFT-MIB's objects are.
const snmpObjects = ".1.3.6.1.4.1.8072.9999.9999.389.1"

// cell is one line of a walk: where it is below snmpObjects, and its value.
type cell struct {
	at    []int
	value string
}

// ask runs snmpget, snmpwalk or the like on OIDs below snmpObjects.
func (s *snmp) ask(program string, how []string, below ...string) (cells []cell, err error) {
	for i := range below {
		below[i] = snmpObjects + below[i]
	}
	lines, err := s.agent.Run(30*time.Second, program, how, below...)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		oid, value, _ := strings.Cut(line, " ")
		rest, under := strings.CutPrefix(oid, snmpObjects+".")
		if !under || strings.HasPrefix(value, "No ") {
			continue // the end of the view, or none of the kind
		}
		c := cell{value: strings.TrimSpace(strings.Trim(value, `"`))}
		for number := range strings.SplitSeq(rest, ".") {
			n, err := strconv.Atoi(number)
			if err != nil {
				return nil, fmt.Errorf("%s: %q", program, line)
			}
			c.at = append(c.at, n)
		}
		cells = append(cells, c)
	}
	return cells, nil
}

// dated is how snmpget prints a DateAndTime.
func dated(t *testing.T, when string) string {
	t.Helper()
	if when == "" {
		return "00 00 00 00 00 00 00 00"
	}
	at, err := time.Parse(time.RFC3339, when)
	if err != nil {
		t.Fatal(err)
	}
	at = at.UTC()
	return fmt.Sprintf("%02X %02X %02X %02X %02X %02X %02X %02X 2B 00 00", at.Year()>>8, at.Year()&255, int(at.Month()), at.Day(),
		at.Hour(), at.Minute(), at.Second(), at.Nanosecond()/100e6)
}

// nameAge is the column of shaftNameTable with the seconds since the last contact, which differs from one request to
// the next.
const nameAge = 12

// columns are what shaftNameTable has to tell of a name, from column 2 on, as the lists tell it, the age left out.
// Severities are numbers of the MIB, by DN.
func (n *name) columns(t *testing.T, severities map[string]int) (values []string) {
	t.Helper()
	number := func(of map[string]string, word string) string {
		for n, w := range of {
			if w == word {
				return n
			}
		}
		return "unknown: " + word
	}
	truth := map[bool]string{true: "1", false: "2"}
	return []string{
		strings.TrimSuffix(n.DN, ","+base), n.DN, number(snmpStates, n.Head.State), truth[n.Head.Online], truth[n.LastKnownGood],
		n.Head.Claim, n.Head.Subscription, n.Head.URL, n.Head.Reason, dated(t, n.Head.LastContact), "", dated(t, n.Head.LastChange),
		fmt.Sprint(n.Entries), fmt.Sprint(len(n.Queue)), truth[n.Lingering != nil], fmt.Sprint(len(n.Alarms)), fmt.Sprint(max(1, severities[n.DN])),
	}
}

// cells waits until snmpwalk tells all of shaftNameTable, and snmpget each cell of one row, as the list tells it, by
// v2c and by v3. Names have to be spelt as they were first.
func (s *snmp) cells(when string, indexes map[string]string) {
	s.t.Helper()
	for _, how := range [][]string{ldaptest.SNMPv2c, ldaptest.SNMPv3} {
		var said, want []string
		var err error
		defer func() {
			if s.t.Failed() {
				s.t.Logf("%s, %s: SNMP tells %q (%v), the list %q", when, how[0], said, err, want)
			}
		}()
		eventually(s.t, time.Minute, when+": each cell agrees with the list", func() bool {
			var row []string
			if want, row, err = s.wanted(indexes); err != nil {
				return false
			}
			began := time.Now()
			walked, wrong := s.ask("snmpwalk", how, ".3")
			got, wrongToo := s.ask("snmpget", how, slices.Clone(row)...)
			if err = wrong; err == nil {
				err = wrongToo
			}
			said = s.lines(append(walked, got...), began)
			return err == nil && slices.Equal(said, want)
		})
	}
}

// wanted are the lines that a walk of shaftNameTable has to give, then those of row, the OIDs of the cells of one
// name's.
func (s *snmp) wanted(indexes map[string]string) (lines, row []string, err error) {
	severities := map[string]int{}
	for _, kind := range snmpKinds {
		for _, a := range s.alarms(kind) {
			if !a.Acknowledged {
				severities[a.Name] = max(severities[a.Name], slices.Index([]string{"", "none", "warning", "average", "high", "disaster"}, a.Severity))
			}
		}
	}
	values := map[int][]string{}
	var order []int
	for dn, n := range s.names() {
		index, err := strconv.Atoi(indexes[dn])
		if err != nil {
			return nil, nil, fmt.Errorf("%s has no index: %v", dn, indexes)
		}
		order = append(order, index)
		values[index] = n.columns(s.t, severities)
	}
	slices.Sort(order)
	var got []string
	for column := range values[order[0]] {
		for _, index := range order {
			at := fmt.Sprintf(".3.1.%d.%d", column+2, index)
			line := at + " " + values[index][column]
			lines = append(lines, line)
			if index == order[0] {
				row, got = append(row, at), append(got, line)
			}
		}
	}
	return append(lines, got...), row, nil
}

// lines prints cells, a row's age as nothing if it is the one that its row's date makes it: then it is that
// of the last contact, at a moment between began and now.
func (s *snmp) lines(cells []cell, began time.Time) (lines []string) {
	contact := map[int]time.Time{}
	for _, c := range cells {
		column, index, value := c.at[2], c.at[3], c.value
		var year, y, month, day, hour, minute, second, tenth int
		if _, err := fmt.Sscanf(value, "%X %X %X %X %X %X %X %X", &year, &y, &month, &day, &hour, &minute, &second, &tenth); err == nil && column == nameAge-1 {
			contact[index] = time.Date(year<<8+y, time.Month(month), day, hour, minute, second, tenth*100e6, time.UTC)
		}
		if n, err := strconv.Atoi(value); err == nil && column == nameAge {
			least, most := began.Sub(contact[index]), time.Since(contact[index])
			if n >= int(least/time.Second)-1 && n <= int(most/time.Second) {
				value = ""
			}
		}
		lines = append(lines, fmt.Sprintf(".%d.%d.%d.%d %s", c.at[0], c.at[1], column, index, value))
	}
	return lines
}

// walker asks all there is again and again while things change, and holds what it is told against what it was
// told before.
type walker struct {
	s    *snmp
	done chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex
	rows   map[string]map[string]string // of shaftAlarmTable, by index, newest
	dns    map[int]string               // by index of a name
	labels map[int]string
	texts  map[string]string // of alarms, by serial
	rounds int
}

// walks starts one, which ends with the test, or when the function is called.
func (s *snmp) walks() (w *walker, end func()) {
	w = &walker{s: s, done: make(chan struct{}), dns: map[int]string{}, labels: map[int]string{}, texts: map[string]string{}}
	end = sync.OnceFunc(func() {
		close(w.done)
		w.wg.Wait()
	})
	s.t.Cleanup(end)
	w.wg.Go(func() {
		for {
			for i, program := range []string{"snmpwalk", "snmpbulkwalk", "snmpwalk", "snmpbulkwalk"} {
				select {
				case <-w.done:
					return
				default:
					w.round(program, [][]string{ldaptest.SNMPv2c, ldaptest.SNMPv3}[i/2])
				}
			}
		}
	})
	return w, end
}

// round walks once and reads the alarms once, in a table whose rows are of one moment each.
func (w *walker) round(program string, how []string) {
	cells, err := w.s.ask(program, how, "")
	if err != nil {
		w.s.t.Error(err)
		return
	}
	rows, err := w.s.agent.Table(how, w.s.mibs, "shaftAlarmTable")
	if err != nil {
		w.s.t.Error(err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rounds++
	w.walked(cells)
	w.rows = map[string]map[string]string{}
	for _, r := range rows {
		w.rows[r["index"]] = r
		w.alarm(r)
	}
}

// walked looks at a walk.
func (w *walker) walked(cells []cell) {
	serials := map[int]int{}
	for i, c := range cells {
		if i > 0 && slices.Compare(cells[i-1].at, c.at) >= 0 {
			w.s.t.Errorf("a walk tells %v after %v", c.at, cells[i-1].at)
		}
		row := c.at[len(c.at)-1]
		switch column := c.at[:len(c.at)-1]; {
		case slices.Equal(column, []int{3, 1, 2}):
			w.same("label of", w.labels, row, c.value)
		case slices.Equal(column, []int{3, 1, 3}):
			w.same("DN of", w.dns, row, c.value)
		case slices.Equal(column, []int{5, 1, 2}):
			serials[row], _ = strconv.Atoi(c.value)
		case slices.Equal(column, []int{5, 1, 3}) && c.value != "":
			// The text is read after the serial: it may be of a later moment, never of an earlier one.
			number := w.text(c.value)
			if n, err := strconv.Atoi(number); err != nil || n < serials[row] {
				w.s.t.Errorf("the text %q is told after the serial %d", c.value, serials[row])
			}
		}
	}
}

func (w *walker) same(what string, known map[int]string, index int, value string) {
	for i, v := range known {
		if (i == index) != (v == value) {
			w.s.t.Errorf("the %s %d is %q, that of %d was %q", what, index, value, i, v)
		}
	}
	known[index] = value
}

// text notes an alarm's, which is the same wherever its serial is, and gives the serial.
func (w *walker) text(text string) (serial string) {
	serial, _, _ = strings.Cut(strings.TrimPrefix(text, "#"), ":")
	if was, known := w.texts[serial]; known && was != text {
		w.s.t.Errorf("of the serial %s the text is %q, and was %q", serial, text, was)
	}
	w.texts[serial] = text
	return serial
}

// alarm looks at a row of shaftAlarmTable.
func (w *walker) alarm(r map[string]string) {
	serial, text := r["shaftAlarmSerial"], r["shaftAlarmText"]
	fits := serial == "0" && text == "" && r["shaftAlarmFingerprint"] == "" && r["shaftAlarmGeneration"] == "0"
	if r["shaftAlarmState"] != "1" {
		fits = serial != "0" && strings.HasPrefix(text, "#"+serial+": ") && r["shaftAlarmFingerprint"] != "" && r["shaftAlarmGeneration"] != "0"
		w.text(text)
	}
	if !fits {
		w.s.t.Errorf("a row of alarms does not fit together: %v", r)
	}
}

// sees waits until the newest look has an alarm row of which the text ends so.
func (w *walker) sees(index, ending string) {
	w.s.t.Helper()
	eventually(w.s.t, time.Minute, "the walks tell of "+index+": "+ending, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		row, there := w.rows[index]
		return there && strings.HasSuffix(row["shaftAlarmText"], ending) && (ending == "") == (row["shaftAlarmState"] == "1")
	})
}

// without waits until the newest look has no row of a name.
func (w *walker) without(label string) {
	w.s.t.Helper()
	eventually(w.s.t, time.Minute, "the walks tell of no "+label, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, r := range w.rows {
			if r["shaftAlarmLabel"] == label {
				return false
			}
		}
		return w.rows != nil
	})
}

// R51: walks, bulk walks and tables by v2c and v3 make sense while names and rivals come and go: OIDs ascend, an index
// means one name, and an alarm's state, serial and text belong together. At the end SNMP and the list agree.
func TestSNMPWhileThingsChange(t *testing.T) {
	suse := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	agent := ldaptest.StartSNMPd(t, "unix")
	s := newSNMP(t, agent, agent.AgentX)
	s.follow("suse", suse, ldaptest.SuSeSuffix, "cn=SuSe")
	s.live("cn=SuSe")
	at := s.agree("one name", func() bool { return true })["cn=SuSe,"+base] + ".5" // its clash
	w, end := s.walks()
	for range 3 {
		s.follow("rival", suse, ldaptest.SuSeSuffix, "cn=SuSe")
		w.sees(at, "suse is shown, 1 claim waits: rival")
		s.follow("other", suse, ldaptest.SuSeSuffix, "cn=SuSe")
		s.follow("extra", suse, ldaptest.SuSeSuffix, "cn=Extra")
		w.sees(at, "suse is shown, 2 claims wait: rival, other")
		for _, id := range []string{"rival", "other", "extra"} {
			s.run("subscription", "remove", id)
		}
		w.sees(at, "")
		w.without("cn=Extra")
	}
	end()
	if len(w.dns) != 2 || len(w.texts) < 6 || t.Failed() {
		t.Errorf("in %d rounds the names %v and the texts %v were seen", w.rounds, w.dns, w.texts)
	}
	s.follow("rival", suse, ldaptest.SuSeSuffix, "cn=SuSe")
	s.cells("at the end", s.agree("at the end", func() bool { return s.kindsOf("cn=SuSe") == "clash" }))
}
