"""The bytes of a state: how entries and values are written to a state file and read back.

Terms: the *document* is the stored form of a whole snapshot, a *form* that of one entry or value.
The same forms stand in the document and in the records of the commit log.

Invariants: bytes are a function of the content, so equal bytes mean an equal state. A document that
cannot be understood whole is not read: the error names the place. A `Secret` or `Unknown` never
gets into a form. A newer format is refused by its number.

`document` writes and reads dtm's own format, `forms` its parts, `devstream` the files of DevStream.

    state = state_file.decode(data, "s3://bucket/devstream.state")
    data = state_file.encode(state)
"""
