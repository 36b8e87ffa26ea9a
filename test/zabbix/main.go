// Command zabbix shows that Shaft can be watched with Zabbix, and checks it: it starts
// Debian's Zabbix (PostgreSQL, server, frontend) and snmpd on loopback, imports the template
// of deploy/zabbix through the API, and plays the troubles of real slapds to a running Shaft.
// What Zabbix makes of each is read from its API. Pictures of its pages go to tmp/zabbix.
//
//	make e2e-zabbix               # as root: installs what is missing, then runs this
//	go run ./test/zabbix -keep    # leaves everything running at the end, until interrupted
//	go run ./test/zabbix -scenes 3 -keep # plays three scenes of the eight, up to the pictures
//
// A run that takes longer than twelve minutes fails.
//
// Everything is below one new directory, listens on free ports of 127.0.0.1, runs under
// the accounts of Debian's packages, and ends with the run.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	keep := flag.Bool("keep", false, "leave everything running at the end, until interrupted")
	scenes := flag.Int("scenes", 0, "play only so many `scenes`; 0 is all")
	out := flag.String("out", "tmp/zabbix", "`directory` of the screenshots")
	flag.Parse()
	if err := demonstrate(*out, *scenes, *keep); err != nil {
		fmt.Fprintf(os.Stderr, "zabbix: %v\n", err)
		os.Exit(1)
	}
}

func demonstrate(out string, scenes int, keep bool) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("run it as root: PostgreSQL and Zabbix are started under accounts of their own")
	}
	if err := needTools(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	limited, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	r, err := newRun(limited, out)
	if err != nil {
		return err
	}
	defer os.RemoveAll(r.dir)
	err = r.do(func(r *run) {
		play(r, scenes)
		r.goesOn()
		if keep {
			r.say("everything runs in %s; interrupt to end it", r.dir)
			<-ctx.Done()
		}
	})
	if err == nil {
		fmt.Printf("\n%d checks passed in %v; the pictures are in %s\n", r.checks, time.Since(r.begun).Round(time.Second), out)
	}
	return err
}
