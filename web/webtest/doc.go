// Package webtest holds the tests of the status page as people meet it: in a real Chromium, served by real workers on a
// real Redis. It has no code of its own and never imports the page: what a test knows is what a browser is given.
package webtest
