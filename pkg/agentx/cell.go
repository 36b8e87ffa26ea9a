package agentx

import (
	"math"
	"time"
	"unicode/utf8"

	"github.com/posteo/go-agentx/pdu"
)

// cell is one value with its SMI type, as the codec wants it.
type cell struct {
	kind  pdu.VariableType
	value any
}

// maxText bounds what SHAFT-MIB calls ShaftText, in bytes.
const maxText = 1024

// text is words: what is too long is cut between characters and ends with three dots,
// what is no UTF-8 is made such.
func text(s string) cell {
	return cell{pdu.VariableTypeOctetString, clip(s, maxText)}
}

func clip(s string, most int) string {
	s = toValid(s)
	if len(s) <= most {
		return s
	}
	const dots = "..."
	cut := most - len(dots)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + dots
}

func toValid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

// gauge is a number that stops at what fits; below zero it is zero.
func gauge[N int | int64 | uint32 | uint64](n N) cell {
	switch {
	case n < 0:
		n = 0
	case uint64(n) > math.MaxUint32:
		return cell{pdu.VariableTypeGauge32, uint32(math.MaxUint32)}
	}
	return cell{pdu.VariableTypeGauge32, uint32(n)}
}

// counter is a number that begins anew where it does not fit.
func counter(n uint64) cell { return cell{pdu.VariableTypeCounter32, uint32(n)} }

func enum(n int) cell { return cell{pdu.VariableTypeInteger, int32(n)} }

// truth is a TruthValue.
func truth(b bool) cell {
	if b {
		return enum(1)
	}
	return enum(2)
}

// ticks are hundredths of a second, which begin anew after 497 days. The codec reckons
// with floating point and cuts: half a hundredth more keeps it right.
func ticks(d time.Duration) cell {
	n := uint32(max(d, 0) / (10 * time.Millisecond))
	return cell{pdu.VariableTypeTimeTicks, time.Duration(n)*10*time.Millisecond + 5*time.Millisecond}
}

// date is a DateAndTime in UTC; eight zero octets for the zero time.
func date(t time.Time) cell {
	if t.IsZero() {
		return cell{pdu.VariableTypeOctetString, string(make([]byte, 8))}
	}
	t = t.UTC()
	y := max(0, min(t.Year(), math.MaxUint16))
	return cell{pdu.VariableTypeOctetString, string([]byte{
		byte(y >> 8), byte(y), byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()), byte(t.Second()),
		byte(t.Nanosecond() / 100e6), '+', 0, 0,
	})}
}

// never is the age of what has not happened.
const never = math.MaxUint32

// age is how many seconds ago something was.
func age(now, then time.Time) cell {
	if then.IsZero() {
		return gauge(uint32(never))
	}
	return gauge(int64(now.Sub(then) / time.Second))
}
