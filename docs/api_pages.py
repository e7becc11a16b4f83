"""The reference page of the Python API, rendered from docstrings by griffe2md.

mkdocstrings would render the same docstrings only while the site is built. This page is a file like
the other generated ones: it can be read in the repository, and `generate.py --check` finds out if
it is stale.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from pathlib import Path
from typing import Final

from griffe import Alias, Class, GriffeLoader, Object
from griffe2md import ConfigDict, prepare_context, prepare_env

import dtm

TEMPLATES: Final = prepare_env()
"""griffe2md's templates, compiled once: its own functions compile them for each object."""
CONFIG: Final = ConfigDict(
    heading_level=3,
    line_length=88,
    members_order="source",
    filters=["!^_"],
    group_by_category=False,
    inherited_members=False,
    summary=False,
    show_bases=False,
    show_category_heading=False,
    show_object_full_path=False,
    show_root_full_path=False,
    show_root_members_full_path=False,
    show_signature_annotations=True,
    signature_crossrefs=False,
)
HEADING: Final = re.compile(r"^#### `(\w+)`$", re.MULTILINE)
CODE: Final = re.compile(r"(?:^ {4}.*\n?|^\n)+", re.MULTILINE)
"""An indented block of a docstring, with the empty lines around it."""
ITEM: Final = re.compile(r"^(?=`[^`]+`(?::| shows| is| are)|[a-z_]+: )", re.MULTILINE)
"""The start of a line about one field, in a paragraph that begins with such a line."""
SIGNATURE: Final = re.compile(r"(?<=```python\n)(\w+\()(.*)(\) -> .*)(?=\n```)")
GAP: Final = re.compile(r"\n{3,}")

INTRODUCTION: Final = """\
# Python API

The names that plugins and backends import, with their signatures. How to use them is explained in
[Write a plugin](../how-to/write-a-plugin.md). Everything else in dtm's packages may change in any
version.
"""
PLUGINS: Final = """\
## For plugins

A plugin imports these names from `dtm`, for example `from dtm import Call, Options, Resource`.
"""
OPTIONAL: Final = """\
## Optional methods of a provider

A provider that has one of these methods gets more checks before a run. There is no class to
inherit from: dtm looks for the method.
"""
BACKENDS: Final = """\
## For backends

A backend imports these names from `engine`, and nothing from the packages below it.
"""
TESTING: Final = """\
## For tests

The contract suites in `dtm.testing` and fakes for tests of your own.
"""
OPTIONAL_NAMES: Final = {
    "engine.ports": ("HasDerivedAttributes", "HasRequirements", "HasInputFiles"),
}
BACKEND_NAMES: Final = {
    "engine.ports": (
        "Backend",
        "OpenedBackend",
        "Store",
        "AppendStore",
        "StoredObject",
        "Version",
        "Locker",
        "ProcessLocker",
        "Provisioner",
    ),
    "engine.lock": ("LockInfo", "LockRecord"),
    "engine.errors": (
        "StoreError",
        "ConflictError",
        "StoreAccessError",
        "StoreUnavailableError",
        "LockError",
        "LockHeldError",
        "ConfigError",
        "Problem",
        "UsageError",
    ),
}
TESTING_NAMES: Final = {
    "dtm.testing.provider": (
        "provider_contract",
        "run_provider_cases",
        "MakeTrial",
        "Trial",
        "HasTrial",
        "trial_call",
    ),
    "dtm.testing.store": ("store_contract", "StorePlace"),
    "dtm.testing.locker": ("locker_contract", "LockerPlace"),
    "dtm.testing.session": ("session_contract", "Client", "Connect"),
    "dtm.testing.conformance": ("CaseResult", "CaseFailedError", "CaseSkipped"),
    "dtm.testing.clock": ("FakeClock",),
    "dtm.testing.faults": ("CallFault", "FaultyLocker"),
}


def api_page() -> str:
    """Return the page."""
    loader = GriffeLoader(search_paths=[Path(dtm.__file__).parents[1]])
    # A load parses the whole package, so each package is loaded once.
    packages = {name: loader.load(name) for name in ("engine", "dtm")}
    # The protocols come first: every other name is a parameter or a result of their methods.
    public = dict(sorted(dtm.PUBLIC.items(), key=lambda item: item[0] != "engine.ports"))
    parts = [INTRODUCTION, PLUGINS, *_entries(packages, public, shown="dtm")]
    for introduction, names in (
        (OPTIONAL, OPTIONAL_NAMES),
        (BACKENDS, BACKEND_NAMES),
        (TESTING, TESTING_NAMES),
    ):
        parts += [introduction, *_entries(packages, names)]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _entries(
    packages: Mapping[str, Object | Alias], names: Mapping[str, tuple[str, ...]], *, shown: str = ""
) -> Iterator[str]:
    for module, members in names.items():
        for name in members:
            package, _, path = module.partition(".")
            found = packages[package][f"{path}.{name}"]
            text = _entry(found.final_target if found.is_alias else found)
            heading, _, rest = text.partition("\n")
            yield f"{heading}\n\n`from {shown or module} import {name}`\n{rest}"


def _entry(found: Object) -> str:
    config = CONFIG
    for each in (found, *found.members.values()):
        if each.docstring and not each.is_alias:
            each.docstring.value = _markdown(each.docstring.value)
    if isinstance(found, Class) and found.docstring:
        # The other members are fields: they are listed once, in the declaration.
        documented = [name for name, each in found.members.items() if each.has_docstring]
        config = ConfigDict(**{**CONFIG, "members": documented or False})
        found.docstring.value = f"{_declaration(found)}\n\n{found.docstring.value}"
    template = TEMPLATES.get_template(f"{found.kind.value}.md.jinja")
    text = HEADING.sub(rf"#### `{found.name}.\1`", template.render(prepare_context(found, config)))
    return GAP.sub("\n\n", SIGNATURE.sub(_wrap, text))


def _wrap(signature: re.Match[str]) -> str:
    """Return a signature with one parameter per line if it is longer than a line."""
    head, parameters, tail = signature.groups()
    if len(signature[0]) <= CONFIG["line_length"]:
        return signature[0]
    # Only commas outside brackets separate parameters.
    commas = (match.start() for match in re.finditer(", ", parameters))
    outside = [at for at in commas if _depth(parameters[:at]) == 0]
    parts = [parameters[i:j] for i, j in zip([0, *outside], [*outside, None], strict=True)]
    lines = "".join(f"    {part.removeprefix(', ')},\n" for part in parts)
    return f"{head}\n{lines}{tail}"


def _depth(text: str) -> int:
    return sum(text.count(each) for each in "([{") - sum(text.count(each) for each in ")]}")


def _declaration(found: Class) -> str:
    """Return the head of a class and its fields, as code."""
    bases = f"({', '.join(map(str, found.bases))})" if found.bases else ""
    lines = [f"class {found.name}{bases}:"]
    for name, member in found.members.items():
        # Instance attributes are left out: the signature of `__init__` shows them.
        field = member.is_attribute and (member.annotation or "class-attribute" in member.labels)
        if field and not name.startswith("_") and not member.has_docstring:
            value = "" if member.value is None else f" = {member.value}"
            annotation = "" if member.annotation is None else f": {member.annotation}"
            lines.append(f"    {name}{annotation}{value}")
    if len(lines) == 1:
        lines[0] = lines[0].removesuffix(":")
    return "\n".join(["```python", *lines, "```"])


def _list(paragraph: str) -> str:
    lines = paragraph.split("\n")
    return "\n".join(f"- {line}" if ITEM.match(line) else f"  {line}" for line in lines)


def _markdown(docstring: str) -> str:
    """Return a docstring with its indented code in fences and its lists of fields as lists."""

    def fence(block: re.Match[str]) -> str:
        code = textwrap.dedent(block[0]).strip("\n")
        return f"\n```python\n{code}\n```\n\n" if code.strip() else block[0]

    paragraphs = cleandoc(docstring).split("\n\n")
    listed = (_list(each) if ITEM.match(each) else each for each in paragraphs)
    return CODE.sub(fence, "\n\n".join(listed) + "\n")
