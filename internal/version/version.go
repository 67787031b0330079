// Package version says which build of the module runs.
package version

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// Build is what the go command put into a binary.
type Build struct {
	// Version is the module's, "(devel)" for a build that has none.
	Version string
	// Revision is the commit that was checked out, Time the commit's time in RFC 3339, and
	// Modified says that files differed from it. They are empty in a build without version
	// control, such as `go install` of a released version.
	Revision string
	Time     string
	Modified bool
	// Go is the version of Go.
	Go string
}

// Read returns the build that runs.
func Read() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Build{Version: unknown, Go: runtime.Version()}
	}
	return of(info)
}

// unknown is what the go command calls a version that it does not know.
const unknown = "(devel)"

func of(info *debug.BuildInfo) Build {
	b := Build{Version: info.Main.Version, Go: info.GoVersion}
	if b.Version == "" {
		b.Version = unknown
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// String returns the build in one line, as `gas version` prints it behind the name.
func (b Build) String() string {
	parts := []string{b.Version}
	if b.Revision != "" {
		revision := "revision " + b.Revision
		if b.Time != "" {
			revision += " of " + b.Time
		}
		if b.Modified {
			revision += ", modified"
		}
		parts = append(parts, revision)
	}
	return strings.Join(append(parts, b.Go), ", ")
}
