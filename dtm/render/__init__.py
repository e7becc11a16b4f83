"""Plans, events, errors and values as text for people or as JSON lines for programs.

One *renderer* at a time, chosen by `renderers.make_renderer`: `rich` for a terminal, `plain` for
log files and pipes, `json` for programs. All of them have the methods of `port.Renderer`. A
`Screen` says where and how text leaves. Data goes to stdout, everything else to stderr.

What the renderers for people share, from the inside out: `text` (styled lines), `values`, `errors`,
`differences`, `plan`, `tables`, `locks`, `sentences` (the words that people search for), `events`
(an event as a sentence), `people` (all of it as a renderer). `terminal` and `live` alone import
rich; `jsonl`, `jsonlines` and `jsontypes` make the JSON, whose types are the published schema.

Invariants:
- Every text goes through `Screen.clean`, which hides known secrets, on its way out.
- No method raises for what it is given, but for a stream that cannot be written.
- Events come from several threads; a renderer has one lock.

    renderer = make_renderer("plain", Screen(sys.stdout, sys.stderr, redactor.redact))
    renderer.notice("info", "Apply started.")
    renderer.close()
"""
