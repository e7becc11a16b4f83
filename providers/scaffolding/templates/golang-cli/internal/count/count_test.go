package count

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

func TestRead(t *testing.T) {
	cases := map[string]Counts{
		"":                 {},
		"one":              {Lines: 0, Words: 1, Bytes: 3},
		"one two\n":        {Lines: 1, Words: 2, Bytes: 8},
		"  a\t\tb \n\n c":  {Lines: 2, Words: 3, Bytes: 11},
		"grün\u00a0weiß\n": {Lines: 1, Words: 2, Bytes: 13},
		"\xff\xfe":         {Lines: 0, Words: 1, Bytes: 2},
	}
	for text, want := range cases {
		if got, err := Read(strings.NewReader(text)); err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
}

func TestReadReportsErrors(t *testing.T) {
	broken := errors.New("broken")
	if _, err := Read(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
