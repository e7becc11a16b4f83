r"""The fast reader of YAML: yaml-rs, for texts that PyYAML would read in the same way.

yaml-rs is about twenty times faster than PyYAML. But it knows neither places nor the source text of
numbers, and it reads a few things differently. So `read` first checks with two patterns that a text
contains nothing of this kind (docs/decisions/0001-yaml-loader.md). If yaml-rs is not installed,
PyYAML reads every text, with the same result.

    read("a: 1\n")     # [{"a": 1}]
    read("a: 1.10\n")  # None: PyYAML has to keep the text of the number
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from engine.language.expressions import RawValue
from engine.language.nesting import is_flat

_BLANK: Final = re.compile(r"(?:[ \n]|#[^\n]*)*")
_SEPARATOR: Final = re.compile(r"^---(?: +(?:#.*)?)?$", re.MULTILINE)


def read(text: str) -> list[RawValue] | None:
    """Return the documents of a text, or None if PyYAML has to read it."""
    loads = _loads()
    if (
        loads is None
        or not text.endswith("\n")
        or _unusual_characters().search(text)
        or _ambiguous_syntax().search(f"\n{text}\n")
        # yaml-rs overflows its stack on deep nesting, which ends the process.
        or not is_flat(text)
    ):
        return None
    parts = _SEPARATOR.split(text)
    if _BLANK.fullmatch(parts[0]):
        # Blank lines and comments before the first marker are not a document.
        del parts[0]
    try:
        documents = [loads(part) for part in parts]
    except (ValueError, TypeError):
        # The text is wrong, or a list or map is a key: PyYAML reports it with its place.
        return None
    return documents if _has_text_keys(documents) else None


def _loads() -> Callable[[str], RawValue] | None:
    try:
        import yaml_rs
    except ImportError:
        return None
    # yaml-rs declares that it returns maps, but it returns scalars as well.
    return lambda text: yaml_rs.loads(text, parse_datetime=False)  # type: ignore[return-value]


# Compiling the two patterns takes 10 ms. They are compiled on first use, so that a command that
# reads no file does not pay for them.


@cache
def _unusual_characters() -> re.Pattern[str]:
    """Match tabs, carriage returns, byte order marks, and line breaks that only YAML 1.1 knows."""
    return re.compile(
        r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
    )


@cache
def _ambiguous_syntax() -> re.Pattern[str]:
    """Match syntax that yaml-rs may read differently from PyYAML."""
    return re.compile(
        r"""
        # directives; documents on a marker's line; lines of spaces
        ^(?:%|\ *[|>]|\ +$|\.\.\.|---(?!(?:\ +(?:\#.*)?)?$))
        |:[,\[\]{}?]|\\u[dD][89a-fA-F]  # keys right before punctuation; surrogates
        |[\n:,\[{][ -]*(?=[0-9&*!%?:<|>TF+._-])(?:  # where a value may begin
            # anchors, aliases, tags, merges, complex and empty keys
            [&*!%?:]|<<
            # a block scalar without text, or with an unusual head
            |(?![|>][+1-9-]{0,2}\ *(?:\#.*)?\n\ +[^\ \n])[|>]
            |(?:True|TRUE|False|FALSE)(?=[\ \n,\]}:])
            # numbers that are spelled differently from their value
            |(?!(?:0|-?[1-9][0-9]{0,15}|-?(?:0|[1-9][0-9]{0,8})\.(?:0|[0-9]{0,3}[1-9]))[\ \n,\]}:])
            [-+]?(?:0[xXoObB][0-9a-fA-F_]+
                |(?:[0-9_]+(?:\.[0-9_]*)?|\.[0-9_]+)(?:[eE][-+]?[0-9_]+)?
                |\.(?:inf|Inf|INF|nan|NaN|NAN))(?=[\ \n,\]}:])
        )
        # characters that may begin a value outside brackets, but not inside
        |[\[{,][ ]*[|>?:@`%]
        """,
        re.VERBOSE | re.MULTILINE,
    )


def _has_text_keys(value: Any) -> bool:
    """Return whether all keys are strings, at every level."""
    # A plain loop: it is the fastest form, and every large file is checked here.
    inner: Any = value
    if type(value) is dict:
        found: dict[Any, Any] = value  # pyright: ignore[reportUnknownVariableType] - parsed
        for key in found:
            if type(key) is not str:
                return False
        inner = found.values()
    return all(_has_text_keys(item) for item in inner if type(item) is dict or type(item) is list)
