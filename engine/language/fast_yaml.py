r"""The quick reader: yaml-rs, asked only where PyYAML would say the same.

yaml-rs is some twenty times faster than PyYAML, but it gives no places and no source text of
numbers, and reads a few things differently. So it gets a text only if nothing in the text could
be read in two ways (docs/decisions/0001-yaml-loader.md). Without yaml-rs every text is read the
same, only slower.

    read("a: 1\n")     # [{"a": 1}]
    read("a: 1.10\n")  # None: text or number? The reference decides.
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
    """Read every document of a text, or return None where the reference has to decide."""
    loads = _loads()
    if (
        loads is None
        or not text.endswith("\n")
        or _odd().search(text)
        or _ambiguous().search(f"\n{text}\n")
        # yaml-rs overflows its stack on deep nesting, which ends the process.
        or not is_flat(text)
    ):
        return None
    parts = _SEPARATOR.split(text)
    if _BLANK.fullmatch(parts[0]):
        del parts[0]  # what stands before the first marker is a document only if it says something
    try:
        documents = [loads(part) for part in parts]
    except (ValueError, TypeError):  # wrong, or a list or map is a key: the reference explains it
        return None
    return documents if _has_text_keys(documents) else None


def _loads() -> Callable[[str], RawValue] | None:
    try:
        import yaml_rs
    except ImportError:
        return None
    # yaml-rs declares maps, but gives scalars, too.
    return lambda text: yaml_rs.loads(text, parse_datetime=False)  # type: ignore[return-value]


# The two patterns take 10 ms to compile: only a command that reads a file pays for them.


@cache
def _odd() -> re.Pattern[str]:
    """Match tabs, carriage returns, byte order marks, and line ends that only YAML 1.1 knows."""
    return re.compile(
        r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
    )


@cache
def _ambiguous() -> re.Pattern[str]:
    """Match what yaml-rs might read otherwise than PyYAML."""
    return re.compile(
        r"""
        # directives; documents on a marker's line; lines of spaces
        ^(?:%|\ *[|>]|\ +$|\.\.\.|---(?!(?:\ +(?:\#.*)?)?$))
        |:[,\[\]{}?]|\\u[dD][89a-fA-F]  # keys right before punctuation; surrogates
        |[\n:,\[{][ -]*(?=[0-9&*!%?:<|>TF+._-])(?:  # where a value may begin
            # anchors, aliases, tags, merges, complex and empty keys
            [&*!%?:]|<<
            # what is no head of a block scalar with text
            |(?![|>][+1-9-]{0,2}\ *(?:\#.*)?\n\ +[^\ \n])[|>]
            |(?:True|TRUE|False|FALSE)(?=[\ \n,\]}:])
            # numbers that are not written the way their value would be
            |(?!(?:0|-?[1-9][0-9]{0,15}|-?(?:0|[1-9][0-9]{0,8})\.(?:0|[0-9]{0,3}[1-9]))[\ \n,\]}:])
            [-+]?(?:0[xXoObB][0-9a-fA-F_]+
                |(?:[0-9_]+(?:\.[0-9_]*)?|\.[0-9_]+)(?:[eE][-+]?[0-9_]+)?
                |\.(?:inf|Inf|INF|nan|NaN|NAN))(?=[\ \n,\]}:])
        )
        # what may begin a value outside brackets, but not inside
        |[\[{,][ ]*[|>?:@`%]
        """,
        re.VERBOSE | re.MULTILINE,
    )


def _has_text_keys(value: Any) -> bool:
    """Tell if all keys are strings, all the way down."""
    # A plain loop, since every large file passes here.
    inner: Any = value
    if type(value) is dict:
        found: dict[Any, Any] = value  # pyright: ignore[reportUnknownVariableType] - parsed
        for key in found:
            if type(key) is not str:
                return False
        inner = found.values()
    return all(_has_text_keys(item) for item in inner if type(item) is dict or type(item) is list)
