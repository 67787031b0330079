package archive

import (
	"errors"
	"testing"
)

func TestASubjectOfAnotherIssuerIsAnotherPerson(t *testing.T) {
	for _, tt := range []struct {
		name   string
		of     string
		from   string
		former []string
		want   string
		err    error
	}{
		{"the same", "a", "a", nil, "a", nil},
		{"another", "a", "b", nil, "a", ErrIssuer},
		{"another, and a third is former", "a", "b", []string{"c"}, "a", ErrIssuer},
		{"another that was before", "a", "b", []string{"c", "a"}, "b", nil},
		{"the first", "", "b", nil, "b", nil},
		{"another but for a slash", "a/", "a", nil, "a/", ErrIssuer},
	} {
		was := Account{ID: "u", Name: "N", Email: "e", Issuer: tt.of, Role: Premium}
		got, err := was.SignedIn(Account{ID: "u", Name: "M", Issuer: tt.from, Role: Free}, tt.former)
		want := was
		if want.Issuer = tt.want; tt.err == nil {
			want.Name = "M"
		}
		if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) || got != want {
			t.Errorf("%s: got %+v, %v; want %+v, %v", tt.name, got, err, want, tt.err)
		}
	}
}
