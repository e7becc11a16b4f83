"""The room of the stored form of a state: it reads and writes the bytes of a state file.

Terms:

- A *state file* contains one whole snapshot. Its parsed form is a `StateFile`.
- A *form* is the stored form of one entry or value. State files and the records of the commit log
  contain the same forms.

Invariants:

- The bytes depend only on the content, so that equal states have equal bytes.
- A state file with any invalid part is refused as a whole; the error has the place of that part.
- A form never contains a `Secret` or an `Unknown`.
- A state file in a newer format is refused with the version of dtm that wrote it.

`state_file` reads and writes dtm's own format, `forms` its parts, `devstream` the files of
DevStream.

An example:

    state = state_file.decode(data, "s3://bucket/devstream.state")
    data = state_file.encode(state)
"""
