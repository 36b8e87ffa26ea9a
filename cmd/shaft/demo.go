package main

import (
	"context"
	"flag"
	"os"

	"shaft/internal/demo"
)

// runDemo plays the story until the context ends, or once.
func runDemo(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("shaft demo", flag.ContinueOnError)
	once := fs.Bool("once", false, "print the merged tree as LDIF, check it, and end")
	if err := parse(fs, args); err != nil {
		return err
	}
	return demo.Run(ctx, demo.Options{Program: os.Args[0], Version: buildVersion(), Once: *once, Out: os.Stdout, Err: os.Stderr})
}
