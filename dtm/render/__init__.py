"""Plans, events, errors and values as text for users or as JSON lines for programs.

`renderers.make_renderer` makes one *renderer* per command: `rich` for a terminal, `plain` for log
files and pipes, `json` for programs. Each has the methods of `port.Renderer`. A `Screen` holds the
output streams and settings of a renderer. Data goes to stdout, everything else to stderr. A *line*
is a sequence of *spans*, and a span is a text with a style.

- shared by `rich` and `plain`, innermost first: `text` (styled lines), `values`, `errors`,
  `differences`, `plan`, `tables`, `locks`, `sentences` (fixed wording), `events` (an event as log
  lines), `human` (the common base class)
- `terminal` and `live`: the renderer `rich` and its live table; no other module imports rich
- `json_renderer`, `json_lines`, `json_types`: the renderer `json`, and the published schema
- `prompt`: questions to the user

Invariants:

- Every text passes through `Screen.clean`, which redacts known secrets, before it is written.
- A method raises only if a stream cannot be written.
- Events come from several threads, so a renderer has a lock.

    renderer = make_renderer("plain", Screen(sys.stdout, sys.stderr, redactor.redact))
    renderer.notice("info", "Apply started.")
    renderer.close()
"""
