package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"shaft/pkg/ldapd"
	"shaft/pkg/operator"
)

// passwd prints the hash of a password read from the terminal, unechoed and
// twice, or from standard input.
func passwd(ctx context.Context, args []string) error {
	if err := parse(newFlags("passwd"), args); err != nil {
		return err
	}
	password, err := readPassword(ctx)
	if err != nil {
		return err
	}
	if password == "" {
		return errors.New("the password is empty")
	}
	hash, err := ldapd.HashPassword(password)
	if err != nil {
		return err
	}
	fmt.Println(hash)
	return nil
}

func readPassword(ctx context.Context) (string, error) {
	in := bufio.NewReader(os.Stdin)
	fd := int(os.Stdin.Fd())
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil { // no terminal
		return readLine(in)
	}
	restore := func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, mode) } // nothing is left to do about an error
	quiet := *mode
	quiet.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return "", err
	}
	defer restore()
	// A read from a terminal cannot be called off: a signal ends the program.
	defer context.AfterFunc(ctx, func() {
		restore()
		fmt.Fprintln(os.Stderr)
		os.Exit(operator.ExitRefused)
	})()
	fmt.Fprint(os.Stderr, "Password: ")
	first, err := readLine(in)
	if err != nil {
		return "", err
	}
	fmt.Fprint(os.Stderr, "\nAgain: ")
	second, err := readLine(in)
	fmt.Fprintln(os.Stderr)
	if err == nil && first != second {
		err = errors.New("the two passwords differ")
	}
	return first, err
}

// maxPassword bounds what is read: what is longer is no password, but a file
// that came there by mistake.
const maxPassword = 4096

func readLine(in *bufio.Reader) (string, error) {
	var line []byte
	for {
		c, err := in.ReadByte()
		switch {
		case errors.Is(err, io.EOF), err == nil && c == '\n':
			return strings.TrimSuffix(string(line), "\r"), nil
		case err != nil:
			return "", err
		case len(line) == maxPassword:
			return "", fmt.Errorf("the password is longer than %d bytes", maxPassword)
		}
		line = append(line, c)
	}
}

// isTerminal tells whether somebody watches what is written to f.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
