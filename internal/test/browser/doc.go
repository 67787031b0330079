// Package browser holds the tests that see the site as people do: in a real
// Chromium, over the whole service. They are built with the tag browser, because
// they need Debian's chromium package: make browser runs them, and make
// screenshots keeps what they saw.
package browser
