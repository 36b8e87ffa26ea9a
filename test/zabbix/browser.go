package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// browser is a headless Chromium, spoken to in the DevTools protocol over a pair of
// pipes: JSON objects with a NUL behind each.
type browser struct {
	r       *run
	to      *os.File
	from    *bufio.Reader
	close   func()
	session string // of the one page
	id      int
}

// startBrowser starts it with one empty page.
func startBrowser(r *run, width, height int) *browser {
	hears, to, err := os.Pipe()
	r.must(err)
	from, says, err := os.Pipe()
	r.must(err)
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-proxy-server",
		"--disable-background-networking", "--hide-scrollbars", "--remote-debugging-pipe", fmt.Sprintf("--window-size=%d,%d", width, height),
		"--user-data-dir="+r.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{hears, says} // the descriptors 3 and 4, as the protocol has it
	p := r.start("chromium", "", syscall.SIGTERM, cmd)
	hears.Close()
	says.Close()
	b := &browser{r: r, to: to, from: bufio.NewReader(from), close: func() { p.stop(); to.Close(); from.Close() }}
	r.Cleanup(func() { to.Close(); from.Close() })
	r.must(from.SetReadDeadline(time.Now().Add(browserLimit)))
	var targets struct {
		TargetInfos []struct{ TargetID, Type string }
	}
	b.call("Target.getTargets", object{}, &targets)
	for _, t := range targets.TargetInfos {
		if t.Type == "page" {
			var attached struct{ SessionID string }
			b.call("Target.attachToTarget", object{"targetId": t.TargetID, "flatten": true}, &attached)
			b.session = attached.SessionID
		}
	}
	if b.session == "" {
		r.Fatalf("Chromium has no page")
	}
	return b
}

// browserLimit bounds all that a browser does: a few pages.
const browserLimit = 3 * time.Minute

// call sends a command and reads up to its answer; events in between are left alone.
func (b *browser) call(method string, params object, result any) {
	b.id++
	command := object{"id": b.id, "method": method, "params": params}
	if b.session != "" {
		command["sessionId"] = b.session
	}
	text, err := json.Marshal(command)
	b.r.must(err)
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.r.Fatalf("Chromium: %s: %w", method, err)
	}
	for {
		text, err := b.from.ReadBytes(0)
		if err != nil {
			b.r.Fatalf("Chromium: %s: %w\n%s", method, err, tail(b.r.path("chromium.log")))
		}
		var reply struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(text[:len(text)-1], &reply); err != nil {
			b.r.Fatalf("Chromium: %s: %w", method, err)
		}
		if reply.ID != b.id {
			continue
		}
		if reply.Error != nil {
			b.r.Fatalf("Chromium: %s: %s", method, reply.Error.Message)
		}
		if result != nil {
			b.r.must(json.Unmarshal(reply.Result, result))
		}
		return
	}
}

// eval runs JavaScript in the page and gives the text that it makes; "" while the page is between two others.
func (b *browser) eval(script string) string {
	var out struct{ Result struct{ Value string } }
	b.call("Runtime.evaluate", object{"expression": "String(" + script + ")"}, &out)
	return out.Result.Value
}

// open goes to a page and waits until the condition, a JavaScript expression, is true of it.
func (b *browser) open(url, condition string) {
	b.call("Page.navigate", object{"url": url}, nil)
	b.until(condition)
}

func (b *browser) until(condition string) {
	deadline := time.Now().Add(patience)
	for b.eval("document.readyState === 'complete' && ("+condition+")") != "true" {
		if time.Now().After(deadline) {
			b.save("failed")
			b.r.Fatalf("the page %s never says %s:\n%.2000s", b.eval("location.href"), condition, b.eval("document.body.innerText"))
		}
		b.r.wait()
	}
}

// login logs in by the frontend's form.
func (b *browser) login(web string) {
	b.open(web+"index.php", "document.querySelector('#name') !== null")
	b.eval(fmt.Sprintf("(document.querySelector('#name').value = %q, document.querySelector('#password').value = %q, document.querySelector('#enter').click())",
		adminName, adminPassword))
	b.until("document.querySelector('#enter') === null && document.querySelector('.menu-main') !== null")
}

// shoot saves a picture of the page, which has to show something.
func (b *browser) shoot(name string) {
	picture, err := png.Decode(bytes.NewReader(b.save(name)))
	b.r.must(err)
	if blank(picture) {
		b.r.Fatalf("the picture %s shows nothing", name)
	}
}

// blank tells whether a picture is of one colour.
func blank(p image.Image) bool {
	for y := p.Bounds().Min.Y; y < p.Bounds().Max.Y; y++ {
		for x := p.Bounds().Min.X; x < p.Bounds().Max.X; x++ {
			if p.At(x, y) != p.At(p.Bounds().Min.X, p.Bounds().Min.Y) {
				return false
			}
		}
	}
	return true
}

// save saves what the page shows, without its filter, as a picture in PNG.
func (b *browser) save(name string) []byte {
	b.eval("document.querySelectorAll('.filter-space, .filter-container').forEach(e => e.remove())")
	var picture struct{ Data string }
	b.call("Page.captureScreenshot", object{"format": "png"}, &picture)
	data, err := base64.StdEncoding.DecodeString(picture.Data)
	b.r.must(err)
	path := filepath.Join(b.r.out, name+".png")
	b.r.must(os.WriteFile(path, data, 0o644))
	b.r.say("picture %s", path)
	return data
}
