"""Rendering of a template: its files become the files of a new repository.

The name of the application is inserted into paths, and values into files whose name ends in `.tpl`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from msgspec.structs import replace

from engine.errors import ProviderError
from engine.suggestions import find_similar
from providers._git.objects import GitFile

NAME_PLACEHOLDER: Final = "_app_name_"
TEMPLATE_SUFFIX: Final = ".tpl"
VALUE = re.compile(r"\[\[-?\s*\.?([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*-?\]\]")
ACTION = re.compile(r"\[\[-?\s*(if|range|with|end|else|template|define|block|include)\b[^]]*\]\]")
SKIPPED_AT_TOP: Final = frozenset({"README.md"})
"""Files that are not copied.

README.md describes the template. The README of the application is README.md.tpl.
"""


def render(
    files: Mapping[str, GitFile], name: str, values: Mapping[str, Any]
) -> dict[str, GitFile]:
    """Return the files of an application called `name`, sorted by path.

    `_app_name_` in a path is replaced by the name. A file that ends in `.tpl` loses that suffix. In
    its text `_app_name_`, `[[ key ]]`, `[[ .Key ]]` and `[[ .Group.Key ]]` are replaced by values;
    case and underscores of a key are ignored. Any other file is copied unchanged. `.git` and a
    README.md in the top directory are left out. Raises ProviderError with all problems.

        render({"_app_name_.txt.tpl": GitFile(b"[[ Owner ]]")}, "app", {"owner": "me"})
        # {"app.txt": GitFile(b"me")}
    """
    known, problems, rendered = _fold_keys(values), list[str](), dict[str, GitFile]()
    # Sorted, so that the problems and the commit do not depend on the order of the file system.
    for path, file in sorted(files.items()):
        if path in SKIPPED_AT_TOP or ".git" in path.split("/"):
            continue
        target = path.removesuffix(TEMPLATE_SUFFIX).replace(NAME_PLACEHOLDER, name)
        if target in rendered:
            problems.append(f"{path}: another file of the template becomes {target} too")
        rendered[target] = (
            _fill_in(path, file, name, known, problems) if path.endswith(TEMPLATE_SUFFIX) else file
        )
    if problems:
        raise ProviderError(
            "the template cannot be rendered:\n" + "\n".join(problems),
            hint="set the missing values in vars, or correct the template",
        )
    return rendered


def _fold_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        _fold_key(key): _fold_keys(cast("dict[str, Any]", item)) if isinstance(item, dict) else item
        for key, item in values.items()
    }


def _fold_key(key: str) -> str:
    return key.replace("_", "").lower()


def _fill_in(
    path: str, file: GitFile, name: str, known: Mapping[str, Any], problems: list[str]
) -> GitFile:
    try:
        text = file.data.decode()
    except UnicodeDecodeError:
        problems.append(f"{path}: is not UTF-8 text: remove the suffix {TEMPLATE_SUFFIX}")
        return file
    problems += [
        f"{_format_position(path, text, action)}: {action[0]}: "
        f"{action[1]} is not supported, use only [[ key ]]"
        for action in ACTION.finditer(text)
    ]

    def replace_key(match: re.Match[str]) -> str:
        # `[[ end ]]` also matches VALUE. It is already reported as an action.
        if ACTION.fullmatch(match[0]):
            return match[0]
        value = _lookup(known, match[1].split("."))
        if isinstance(value, str):
            return value
        problems.append(
            f"{_format_position(path, text, match)}: {match[0]} has no value"
            f"{_suggest(match[1], known)}"
        )
        return match[0]

    return replace(file, data=VALUE.sub(replace_key, text.replace(NAME_PLACEHOLDER, name)).encode())


def _lookup(known: Mapping[str, Any], keys: list[str]) -> str | None:
    value: Any = known
    for key in keys:
        value = (
            cast("dict[str, Any]", value).get(_fold_key(key)) if isinstance(value, dict) else None
        )
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case _:
            return None


def _suggest(name: str, known: Mapping[str, Any]) -> str:
    similar = find_similar(_fold_key(name), known)
    return f" (similar: {similar})" if similar else ""


def _format_position(path: str, text: str, match: re.Match[str]) -> str:
    return f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
