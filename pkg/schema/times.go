package schema

import (
	"bytes"
	"errors"
	"time"
)

var errTime = errors.New("value is not a generalized time (YYYYMMDDHHMMSSZ)")

// generalizedTime gives the time in UTC as YYYYMMDDHHMMSS, and a fraction
// without trailing zeros behind a point. The Z is left off: with it a time
// would not come before the same time with a fraction.
func generalizedTime(dst, v []byte) ([]byte, error) {
	t, fraction, err := parseTime(v)
	if err != nil {
		return dst, err
	}
	t = t.UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		return dst, errTime
	}
	dst = t.AppendFormat(dst, "20060102150405")
	if fraction = bytes.TrimRight(fraction, "0"); len(fraction) > 0 {
		dst = append(dst, '.')
		dst = append(dst, fraction...)
	}
	return dst, nil
}

// parseTime reads RFC 4517 section 3.3.13: date, hour, then optionally minute
// and second, a fraction of the last of these, and the zone. The fraction of a
// second comes back as its digits, of any number.
func parseTime(v []byte) (t time.Time, fraction []byte, err error) {
	n := 0
	for n < len(v) && isDigit(v[n]) {
		n++
	}
	if n != 10 && n != 12 && n != 14 {
		return t, nil, errTime
	}
	digits, rest := v[:n], v[n:]
	if len(rest) > 0 && (rest[0] == '.' || rest[0] == ',') {
		m := 1
		for m < len(rest) && isDigit(rest[m]) {
			m++
		}
		if m == 1 {
			return t, nil, errTime
		}
		fraction, rest = rest[1:m], rest[m:]
	}
	zone, err := parseZone(rest)
	if err != nil {
		return t, nil, err
	}
	t, err = civil(digits, zone)
	if err != nil || n == 14 {
		return t, fraction, err
	}
	unit := time.Minute
	if n == 10 {
		unit = time.Hour
	}
	t, fraction = addFraction(t, unit, fraction)
	return t, fraction, nil
}

// parseZone reads "Z" or a difference to UTC, hours and optionally minutes.
func parseZone(z []byte) (*time.Location, error) {
	if len(z) == 1 && z[0] == 'Z' {
		return time.UTC, nil
	}
	if len(z) != 3 && len(z) != 5 || z[0] != '+' && z[0] != '-' {
		return nil, errTime
	}
	for _, c := range z[1:] {
		if !isDigit(c) {
			return nil, errTime
		}
	}
	hour, minute := number(z[1:3]), number(z[3:])
	if hour > 23 || minute > 59 {
		return nil, errTime
	}
	seconds := hour*3600 + minute*60
	if z[0] == '-' {
		seconds = -seconds
	}
	return time.FixedZone("", seconds), nil
}

// civil makes a time of YYYYMMDDHH[MM[SS]]. A leap second is the first second
// of the next minute.
func civil(d []byte, zone *time.Location) (time.Time, error) {
	var minute, second int
	year, month, day, hour := number(d[:4]), number(d[4:6]), number(d[6:8]), number(d[8:10])
	if len(d) >= 12 {
		minute = number(d[10:12])
	}
	if len(d) == 14 {
		second = number(d[12:14])
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, zone)
	lastDay := time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
	if month < 1 || month > 12 || day < 1 || day > lastDay || hour > 23 || minute > 59 || second > 60 {
		return t, errTime
	}
	return t, nil
}

// maxFraction bounds the digits of a fraction of an hour or minute that count.
const maxFraction = 9

// addFraction adds a decimal fraction of unit to t and gives what is left of
// it below a second as digits.
func addFraction(t time.Time, unit time.Duration, digits []byte) (time.Time, []byte) {
	digits = digits[:min(len(digits), maxFraction)]
	scale := 1
	for range digits {
		scale *= 10
	}
	part := number(digits) * int(unit/time.Second) // seconds, times scale
	t = t.Add(time.Duration(part/scale) * time.Second)
	left := part % scale
	out := make([]byte, len(digits))
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = byte('0' + left%10)
		left /= 10
	}
	return t, out
}

func number(digits []byte) int {
	n := 0
	for _, c := range digits {
		n = n*10 + int(c-'0')
	}
	return n
}
