package ldapd

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// writeHigh is how much may wait for a client that does not read; whoever
	// has more to say to it waits.
	writeHigh = 256 << 10
	// writeBatch is what is worth a system call before more is added, and what
	// must be taken within one write timeout.
	writeBatch = 64 << 10
	// keepBuffer is the largest buffer that an idle connection keeps.
	keepBuffer = 128 << 10
)

// writer combines the replies of one connection. Whoever has something to say
// appends it; whoever finds nobody writing, writes all there is.
//
// The reader and the operations' goroutines differ in one thing: the reader
// never writes more than what was there when it began, since it must go back to
// read. Goroutines write until nothing is left.
type writer struct {
	nc      net.Conn
	trace   *trace
	timeout atomic.Int64 // nanoseconds; armed anew for each writeBatch

	mu       sync.Mutex
	idle     sync.Cond // nobody is writing any more
	buf      []byte    // to be written
	spare    []byte    // the other buffer, while nobody writes
	writing  bool
	byReader bool // it is the reader that writes
	total    traffic
	err      error
}

func newWriter(nc net.Conn, timeout time.Duration, t *trace) *writer {
	w := &writer{nc: nc, trace: t}
	w.timeout.Store(int64(timeout))
	w.idle.L = &w.mu
	return w
}

// send adds p, which is copied. It blocks while the client has too much to
// read yet; an error means that the connection is done for.
func (w *writer) send(p []byte, reader bool) error {
	if w.trace.live.Load() > 0 {
		w.trace.sent(p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil && len(w.buf) > 0 && len(w.buf)+len(p) > writeHigh {
		if w.writing {
			w.idle.Wait()
		} else {
			w.write(reader)
		}
	}
	if w.err != nil {
		return w.err
	}
	w.total.count(p)
	w.buf = append(w.buf, p...)
	if len(w.buf) >= writeBatch && !w.writing {
		w.write(reader)
	}
	return w.err
}

// flush sees to it that what has been sent is written, here or by whom is writing now.
func (w *writer) flush(reader bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil && len(w.buf) > 0 {
		switch {
		case !w.writing:
			w.write(reader)
			if reader {
				return w.err
			}
		case w.byReader:
			w.idle.Wait()
		default:
			return nil // a goroutine, which goes on until nothing is left
		}
	}
	return w.err
}

// burst lends buffers of at least a size, which followers give up before they wait, to the next that
// have much to say: they are told one after the other, and idle ones hold none.
type burst struct {
	size int
	pool sync.Pool
}

// What a follower hands over at a time, and, with that, a batch of its connection.
var (
	handBurst  = &burst{size: 2 * sendAt}
	writeBurst = &burst{size: writeBatch + 2*sendAt}
)

// take gives a buffer in place of one that is small, with the same content.
func (l *burst) take(b []byte) []byte {
	if cap(b) > keepIdle {
		return b
	}
	large, ok := l.pool.Get().(*[]byte)
	if !ok {
		large = new(make([]byte, 0, l.size))
	}
	return append((*large)[:0], b...)
}

// leaveBurst gives up a buffer that is large; nobody may hold it any more.
func leaveBurst(b []byte) []byte {
	if cap(b) <= keepIdle {
		return b
	}
	switch {
	case cap(b) > keepBuffer:
	case cap(b) >= writeBurst.size:
		writeBurst.pool.Put(&b)
	case cap(b) >= handBurst.size:
		handBurst.pool.Put(&b)
	}
	return nil
}

// burst makes room for much that is going to be sent; trim gives it up.
func (w *writer) burst() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = writeBurst.take(w.buf)
	if !w.writing {
		w.spare = writeBurst.take(w.spare)
	}
}

// trim gives up the buffers that a burst took, when nothing is being written.
func (w *writer) trim() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writing || len(w.buf) > 0 {
		return
	}
	w.buf, w.spare = leaveBurst(w.buf), leaveBurst(w.spare)
}

// write writes what there is, with the lock given up meanwhile: one buffer for
// the reader, else until nothing is left.
func (w *writer) write(reader bool) {
	w.writing, w.byReader = true, reader
	for {
		out := w.buf
		w.buf, w.spare = w.spare[:0], nil
		w.mu.Unlock()
		err := w.put(out)
		w.mu.Lock()
		if cap(out) <= keepBuffer {
			w.spare = out[:0]
		}
		if err != nil {
			w.err, w.buf = err, nil
			w.nc.Close() // so that the reader finds out, too
		}
		if reader || len(w.buf) == 0 {
			break
		}
	}
	w.writing = false
	w.idle.Broadcast()
}

// swap changes what is written to, once nobody writes any more. Everything was
// flushed before.
func (w *writer) swap(nc net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.writing {
		w.idle.Wait()
	}
	w.nc = nc
}

func (w *writer) put(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), writeBatch)
		if err := w.nc.SetWriteDeadline(time.Now().Add(time.Duration(w.timeout.Load()))); err != nil {
			return err
		}
		if _, err := w.nc.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
