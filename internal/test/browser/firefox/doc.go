// Package firefox tests the site in Firefox, with the journeys that depend on a browser most: files
// come back while tabs are open, a plan waits, a file needs attention, a page loses its live updates,
// and a file goes first. Its test has the build tag firefox. `make browser-firefox` installs what the
// test needs, and sets GAS_FIREFOX_DRIVER.
package firefox
