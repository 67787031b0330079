package testenv

import (
	"flag"
	"strconv"
)

// SideBySide lets at least n parallel tests of this package run side by side. Go takes the
// number of processors, which is too few for tests that mostly wait, for a redelivery or for
// another process. The flag -parallel decides if it is given. Call it in TestMain.
func SideBySide(n int) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	p := flag.Lookup("test.parallel")
	if now, err := strconv.Atoi(p.Value.String()); given || err != nil || now >= n {
		return
	}
	// The flag takes every number.
	_ = p.Value.Set(strconv.Itoa(n))
}
