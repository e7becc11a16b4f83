"""Check the words: banned words and openings, internal words in messages, lengths of names.

Without arguments the whole repository is checked. Problems are listed as `file:line: problem`, and
the exit code is 1. The glossary is docs/explanation/glossary.md. `tests/test_prose.py` plants one
sentence for each rule.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("dtm", "engine", "backends", "providers")
MAX_TEST_NAME: Final = 60
MAX_HELP: Final = 80

WORDS: Final = {
    r"whoever|whosoever|whomever": "name the role: the user, the lock holder, another session",
    r"some(body|one)|no(body| one)|any(body|one)|every(body|one)": "name the role",
    r"doubt\w*": "say what is unknown",
    r"wish(es|ed)?|mourn\w*|blot(ted|s)?|riddle\w*|weather|feud\w*|zygote\w*|camps?": "metaphor",
    r"told": "say who reports what, or use redact for secrets",
    r"the world": "the live systems, the live resources",
    r"for good": "permanently, finally",
    r"anew|once more": "again",
    r"to be had|worth a (word|look)|lets? \w+ know": "say it directly",
    r"goes by|went by": "is called",
    r"misspelt|near(est)? names?": "typo, similar name",
    r"mend(s|ed|ing)?": "repair, fix",
    r"(is|are|was|were) meant": "intended; or say what the option does",
    r"stands? (there|here|beside|in|at|on|where|behind|before|as|for)": "is, is stored",
    r"(a|the|its|each|every|no|this) (begin|done)(?! record)": "begin record, done record",
    r"(?<!there )(?<!here )(is|are|was|were) no (?!longer\b|more than\b|different\b)": "is not a",
    r"by their? own|of (its|their) own accord": "say what causes it",
}
"""Pattern of a word that no text may contain, and what to write instead."""

OPENINGS: Final = re.compile(r"(What|Who|Whoever|Whose|Whether|That|Says?|Tells?)\b")
"""First words that no docstring and no comment on a constant may have."""

INTERNAL: Final = re.compile(
    r"\b(chunks?|swap(ped|s)?|replay(ed|s)?|begin record|log head)\b", re.I
)
"""Words that only maintainers know: a message to a user may not contain them."""

FIRST_PERSON: Final = re.compile(r"(?<![\w/.'-])I(?![\w/.'-])")

NAMES: Final = re.compile(
    r"whoever|somebody|nobody|doubt|mourn|blotted|weather|feud|zygote|told", re.I
)
"""Parts that no name of a class or a function may have."""

QUOTED: Final = re.compile(r"`[^`]*`|<!--.*?-->|\]\([^)]*\)")
"""Parts of prose that are code, a link's address or a note to the tests."""

EXEMPT: Final = {
    "docs/prose.py": "it holds the patterns",
    "tests/test_prose.py": "it holds the planted sentences",
    "docs/decisions/0065-plain-english.md": "it quotes the sentences that were rewritten",
}
TEXTS: Final = (".py", ".md", ".md.tmpl", ".sh", ".yaml", ".toml", "Makefile")
"""Endings of the paths that are checked."""

SKIPPED: Final = re.compile(r"templates/|^fixtures/.*\.yaml$")
"""Templates for users' repositories, and configurations with mistakes."""

MESSAGES_EXEMPT: Final = ("dtm/testing/", "dtm/trials/")
"""Folders whose texts are read by authors of backends, who know the words of the engine."""


class Finding(NamedTuple):
    """A problem at a line."""

    line: int
    rule: str
    text: str


def check_text(text: str, line: int) -> Iterator[Finding]:
    """Yield the banned words of a text that starts at this line."""
    text = re.sub(r" *\n *", "\n", QUOTED.sub("``", text))
    for pattern, instead in WORDS.items():
        # A phrase may go on in the next line.
        spaced = pattern.replace(" ", r"\s")
        for found in re.finditer(rf"\b(?:{spaced})\b", text, re.I):
            row = line + text.count("\n", 0, found.start())
            yield Finding(row, "word", f'"{" ".join(found[0].split())}": {instead}')


def check_message(text: str, line: int) -> Iterator[Finding]:
    """Yield the internal words and the first person of a message."""
    text = QUOTED.sub("``", text)
    if found := INTERNAL.search(text):
        yield Finding(line, "internal", f'"{found[0]}" is an internal word')
    if FIRST_PERSON.search(text):
        yield Finding(line, "person", "the program never says I")


def check_opening(text: str, line: int) -> Iterator[Finding]:
    """Yield a finding if a docstring opens with a banned word."""
    if found := OPENINGS.match(text):
        yield Finding(line, "opening", f'a docstring opens with "{found[1]}": use a verb or a noun')


def check_python(source: str, *, messages: bool, tests: bool) -> Iterator[Finding]:
    """Yield every problem of a module: names, docstrings, comments, texts."""
    tree = ast.parse(source)
    docstrings = _docstrings(tree)
    for node in docstrings:
        yield from check_opening(str(node.value).strip(), node.lineno)
    for line, text in [*_comments(source), *_texts(tree, tests=tests)]:
        yield from check_text(text, line)
    if messages:
        for line, text in _texts(tree, tests=tests):
            if line not in {node.lineno for node in docstrings}:
                yield from check_message(text, line)
    yield from _names(tree, tests=tests)
    yield from _help(tree)


def check_markdown(source: str) -> Iterator[Finding]:
    """Yield every banned word of a page, outside its code blocks."""
    kept, fenced = [], False
    for row in source.split("\n"):
        fence = row.lstrip().startswith("```")
        fenced ^= fence
        kept.append("" if fenced or fence else row)
    yield from check_text("\n".join(kept), 1)


def _docstrings(tree: ast.Module) -> list[ast.Constant]:
    """Return the docstrings, those below constants and fields included."""
    return [
        item.value
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        for item in node.body
        if isinstance(item, ast.Expr)
        and isinstance(item.value, ast.Constant)
        and isinstance(item.value.value, str)
    ]


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield blocks of comments, so that a phrase over a line's end is found too."""
    start, rows = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if rows and token.start[0] != start + len(rows):
            yield start, "\n".join(rows)
            rows = []
        start = token.start[0] if not rows else start
        rows.append(token.string.lstrip("# "))
    if rows:
        yield start, "\n".join(rows)


def _texts(tree: ast.Module, *, tests: bool) -> Iterator[tuple[int, str]]:
    """Yield string literals with more than one word; the parts of an f-string as one text.

    In tests only docstrings count: other literals are data.
    """
    if tests:
        for node in _docstrings(tree):
            yield node.lineno, str(node.value)
        return
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
        if part is not node and isinstance(part, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
            )
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts
        ):
            text = node.value
        else:
            continue
        if " " in text.strip():
            yield node.lineno, text


def _names(tree: ast.Module, *, tests: bool) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if found := NAMES.search(node.name):
            yield Finding(node.lineno, "name", f'"{node.name}" contains "{found[0]}"')
        if tests and node.name.startswith("test_") and len(node.name) > MAX_TEST_NAME:
            excess = f"has {len(node.name)} characters, at most {MAX_TEST_NAME}"
            yield Finding(node.lineno, "length", f"{node.name} {excess}")


def _help(tree: ast.Module) -> Iterator[Finding]:
    """Yield help texts of command line options that are too long."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("click.option"):
            for keyword in node.keywords:
                text = keyword.value.value if isinstance(keyword.value, ast.Constant) else ""
                if keyword.arg == "help" and len(str(text)) > MAX_HELP:
                    yield Finding(
                        node.lineno, "help", f"a help text has {len(str(text))} characters"
                    )


def check_file(path: str, source: str) -> Iterator[Finding]:
    """Yield every problem of a file, by what kind of file it is."""
    if path in EXEMPT:
        return
    if path.endswith((".md", ".md.tmpl")):
        yield from check_markdown(source)
    elif path.endswith(".py"):
        shipped = path.startswith(PACKAGES) and not path.startswith(MESSAGES_EXEMPT)
        yield from check_python(source, messages=shipped, tests=path.startswith("tests/"))
    else:
        comments = (row.partition("#")[2] if "#" in row else "" for row in source.split("\n"))
        yield from check_text("\n".join(comments), 1)


def files() -> Iterator[str]:
    """Yield the paths of all texts of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for path in sorted(listed.stdout.split()):
        if not SKIPPED.search(path) and path.endswith(TEXTS):
            yield path


def main() -> int:
    """Print the problems of the files that are named, or of all files."""
    count = 0
    for path in sys.argv[1:] or files():
        for finding in sorted(check_file(path, (ROOT / path).read_text("utf-8"))):
            count += 1
            sys.stdout.write(f"{path}:{finding.line}: {finding.text}\n")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
