package accounts_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/operator/accounts"
)

func read(name, content string) (all []archive.Account, ignored []string, err error) {
	ignored, err = accounts.Read(strings.NewReader(content), name, func(a archive.Account) error { all = append(all, a); return nil })
	return all, ignored, err
}

func TestBothFormatsSayTheSame(t *testing.T) {
	want := []archive.Account{
		{ID: "u1", Role: archive.Premium, Name: "Fern, Fictive", Email: "fern@example.org"},
		{ID: "u2", Role: archive.Free},
	}
	for name, content := range map[string]string{
		"people.csv":   "\ufeffuser_id,role,name,email,institution\r\nu1,premium_user,\"Fern, Fictive\", fern@example.org,X\r\n\r\nu2,,,,\r\n",
		"people.CSV":   "email,user_id,institution,role,name\nfern@example.org,u1,X,premium_user,\"Fern, Fictive\"\n,u2,,free_user,",
		"people.jsonl": `{"user_id":"u1","role":"premium_user","name":"Fern, Fictive","email":"fern@example.org","institution":7}` + "\n\n" + `{"user_id":"u2","role":null}`,
	} {
		got, ignored, err := read(name, content)
		if err != nil || !slices.EqualFunc(got, want, func(a, b archive.Account) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) || !slices.Equal(ignored, []string{"institution"}) {
			t.Errorf("%s: %+v, ignored %v, %v", name, got, ignored, err)
		}
	}
}

func TestWhatIsWrongIsNamedWithItsLineAndField(t *testing.T) {
	for _, c := range []struct{ name, content, says string }{
		{"p.txt", "", "p.txt: the name ends neither in .csv nor in .jsonl"},
		{"p.csv", "", "p.csv is empty: its first line names the fields, user_id at least"},
		{"p.csv", "id,role\nx,free_user\n", "p.csv, line 1: no column is called user_id"},
		{"p.csv", "User_ID\nx\n", "no column is called user_id"},
		{"p.csv", "user_id,role,role\n", `line 1: two columns are called "role"`},
		{"p.csv", "user_id,role\nx,free_user\ny\n", "p.csv, line 3: has 1 fields, the header has 2"},
		{"p.csv", "user_id,role\n,free_user\n", "line 2: user_id is missing"},
		{"p.csv", "user_id,role\nx,premium\n", `line 2: role of user "x" is "premium": it is free_user or premium_user`},
		{"p.csv", "user_id\nx\ny\nx\n", `line 4: user "x" is in line 2 already`},
		{"p.csv", "user_id,name\nx,\"open\ny,z\n", "line 2: is no CSV of one line"},
		{"p.csv", "user_id\n" + strings.Repeat("x", 513), "line 2: user_id has more than 512 bytes"},
		{"p.csv", "user_id\n" + strings.Repeat("x", 1<<20), "line 2: has more than 65536 bytes"},
		{"p.csv", "user_id,email\nx," + strings.Repeat("e", 1001), `line 2: email of user "x" has more than 1000 bytes`},
		{"p.jsonl", "[]", "p.jsonl, line 1: is no JSON object"},
		{"p.jsonl", "null", "line 1: is no JSON object"},
		{"p.jsonl", `{"user_id":"x"}{"user_id":"y"}`, "line 1: is no JSON object"},
		{"p.jsonl", `{"User_id":"x"}`, "line 1: user_id is missing"},
		{"p.jsonl", `{"user_id":7}`, "line 1: user_id is no string"},
		{"p.jsonl", "{\"user_id\":\"\xff\"}x", "line 1: is no JSON object"},
	} {
		if got, _, err := read(c.name, c.content); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s with %.60q: %v, accounts %v; want an error that says %q", c.name, c.content, err, got, c.says)
		}
	}
}

func TestAnErrorOfWhoReadsEndsTheReading(t *testing.T) {
	n := 0
	_, err := accounts.Read(strings.NewReader("user_id\nx\ny\n"), "p.csv", func(archive.Account) error { n++; return fmt.Errorf("no") })
	if n != 1 || err == nil || err.Error() != "no" {
		t.Errorf("%d read, %v", n, err)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{"user_id,role\nx,free_user\n", `{"user_id":"x","role":"premium_user"}`, "\"", "user_id\n\"x\"\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		for _, name := range []string{"p.csv", "p.jsonl"} {
			seen := map[string]bool{}
			accounts.Read(strings.NewReader(content), name, func(a archive.Account) error {
				if a.ID == "" || seen[string(a.ID)] || a.Role != archive.Free && a.Role != archive.Premium {
					t.Errorf("%q yields %+v", content, a)
				}
				seen[string(a.ID)] = true
				return nil
			})
		}
	})
}
