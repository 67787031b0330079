// Package words checks the prose of this repository: the comments and strings
// of the Go files, the docs, and the templates of the site. It fails for each
// retired word and for each construction that is hard to read, and says what
// to write instead. The rules are in rules_test.go.
//
// The test does not run with the race detector, which would find nothing and take most of a
// minute: make lint runs the test.
package words
