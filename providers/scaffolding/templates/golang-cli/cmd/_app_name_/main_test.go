package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "poem")
	if err := os.WriteFile(file, []byte("two words\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name      string
		arguments []string
		in, want  string
		fails     bool
	}{
		{"input", nil, "a b\nc\n", "       2        3        6 -\n", false},
		{"file", []string{file}, "", "       1        2       10 " + file + "\n", false},
		{"JSON", []string{"-json"}, "a\n", `{"name":"-","lines":1,"words":1,"bytes":2}` + "\n", false},
		{"no such file", []string{file + "x"}, "", "", true},
		{"no such flag", []string{"-nope"}, "", "", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			err := run(c.arguments, strings.NewReader(c.in), &out, &bytes.Buffer{})
			if out.String() != c.want || (err != nil) != c.fails {
				t.Errorf("got %q, %v", out.String(), err)
			}
		})
	}
}
