package version

import (
	"runtime/debug"
	"testing"
)

func TestABuildIsToldInOneLine(t *testing.T) {
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	for _, c := range []struct {
		info debug.BuildInfo
		want string
	}{
		{debug.BuildInfo{GoVersion: "go1.26.8"}, "(devel), go1.26.8"},
		{debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3"}}, "v1.2.3, go1.26.8"},
		{debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.4-0.20261127060000-4088324abcde+dirty"}, Settings: []debug.BuildSetting{
			setting("-compiler", "gc"), setting("vcs", "git"), setting("vcs.revision", "4088324abcde"), setting("vcs.time", "2026-11-27T06:00:00Z"), setting("vcs.modified", "true"),
		}}, "v1.2.4-0.20261127060000-4088324abcde+dirty, revision 4088324abcde of 2026-11-27T06:00:00Z, modified, go1.26.8"},
		{debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{
			setting("vcs.revision", "4088324abcde"), setting("vcs.modified", "false"),
		}}, "(devel), revision 4088324abcde, go1.26.8"},
	} {
		if got := of(&c.info).String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestTheBuildThatRunsIsKnown(t *testing.T) {
	if b := Read(); b.Version == "" || b.Go == "" {
		t.Errorf("got %+v", b)
	}
}
