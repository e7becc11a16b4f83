// Command _app_name_ counts lines, words and bytes of files, or of its input.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"[[ .App.Module ]]/internal/count"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "_app_name_:", err)
		os.Exit(1)
	}
}

func run(arguments []string, in io.Reader, out, messages io.Writer) error {
	flags := flag.NewFlagSet("_app_name_", flag.ContinueOnError)
	flags.SetOutput(messages)
	asJSON := flags.Bool("json", false, "print JSON, one object a line")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return report("-", in, out, *asJSON)
	}
	for _, name := range flags.Args() {
		if err := reportFile(name, out, *asJSON); err != nil {
			return err
		}
	}
	return nil
}

func reportFile(name string, out io.Writer, asJSON bool) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return report(name, file, out, asJSON)
}

func report(name string, in io.Reader, out io.Writer, asJSON bool) error {
	found, err := count.Read(in)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if asJSON {
		return json.NewEncoder(out).Encode(struct {
			Name string `json:"name"`
			count.Counts
		}{name, found})
	}
	_, err = fmt.Fprintf(out, "%8d %8d %8d %s\n", found.Lines, found.Words, found.Bytes, name)
	return err
}
