package text

import (
	"bufio"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAnIsolateEndsAtItsEnd(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "\u2068\u2069",
		"plain.vcf":                 "\u2068plain.vcf\u2069",
		"a\u202egpj.exe":            "\u2068a\u202egpj.exe\u2069",
		"a\u2069\u202eb":            "\u2068a\u202eb\u2069",
		"a\u2066b\u2069c\u2069d":    "\u2068a\u2066b\u2069cd\u2069",
		"a\u2029b\u0085c":           "\u2068abc\u2069",
		"\u2069\u2068x\u2069\u2069": "\u2068\u2068x\u2069\u2069",
	} {
		if got := Isolate(in); got != want {
			t.Errorf("Isolate(%q) is %q, want %q", in, got, want)
		}
	}
}

func TestPlainTextSteersNothing(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext\r\n":     "plain\ttext\r\n",
		"größe 日本語":           "größe 日本語",
		"a\u202eb\u2066c":     `a\u202eb\u2066c`,
		"\u200f\u061c\u2028x": `\u200f\u061c\u2028x`,
		"\x1b[2J\x9b":         `\u001b[2J` + "\x9b",
		"\u009b2J":            `\u009b2J`,
		"bad \xff byte":       "bad \xff byte",
		"cut \xe2\x80":        "cut ",
	} {
		var whole, bytewise strings.Builder
		n, err := Plain(&whole).Write([]byte(in))
		if err != nil || n != len(in) || whole.String() != want {
			t.Errorf("%q is written as %q, %d, %v; want %q", in, whole.String(), n, err, want)
		}
		w := bufio.NewWriterSize(Plain(&bytewise), 1)
		for i := range len(in) {
			w.WriteByte(in[i])
			w.Flush()
		}
		if bytewise.String() != want {
			t.Errorf("byte by byte, %q is written as %q, want %q", in, bytewise.String(), want)
		}
	}
	// What is JSON stays the same JSON.
	var out strings.Builder
	in := "a\u202e\u2029\u200f\"\\"
	if err := json.NewEncoder(Plain(&out)).Encode(in); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil || got != in || !utf8.ValidString(out.String()) {
		t.Errorf("%q came back as %q, %v", in, got, err)
	}
}
