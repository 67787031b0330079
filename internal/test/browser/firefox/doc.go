// Package firefox tests the site in Firefox: one journey, from sign-in to the files and to
// sign-out. Its test has the build tag firefox. `make browser-firefox` installs what the test
// needs, and sets GAS_FIREFOX_DRIVER.
package firefox
