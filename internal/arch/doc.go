// Package arch holds the rules of the house as tests: which package may
// import which, what pure packages keep away from, how long files and functions
// get, and what tests do not do. A rule is a row in table_test.go; a new
// package needs one.
//
// The command in requirements lists the tests that name each requirement.
package arch
