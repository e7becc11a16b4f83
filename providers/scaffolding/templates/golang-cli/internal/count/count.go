// Package count counts lines, words and bytes.
package count

import (
	"bufio"
	"io"
	"unicode"
)

// Counts of one text. A last line without a line feed is not counted, as in wc.
type Counts struct {
	Lines int `json:"lines"`
	Words int `json:"words"`
	Bytes int `json:"bytes"`
}

// Read counts everything up to the end of in.
func Read(in io.Reader) (Counts, error) {
	var found Counts
	text, inside := bufio.NewReader(in), false
	for {
		r, size, err := text.ReadRune()
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		found.Bytes += size
		if r == '\n' {
			found.Lines++
		}
		if begins := !unicode.IsSpace(r); begins != inside {
			inside = begins
			if begins {
				found.Words++
			}
		}
	}
}
