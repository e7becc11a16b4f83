"""YAML with comments loads as the value that was dumped."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from providers.ci.yamltext import Commented, dump
from tests.providers.ci.schemas import load

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"))
    | st.sampled_from("\n \t#:-|>'\"${}[]&*!%@`,")
)
SCALARS = st.none() | st.booleans() | st.integers() | TEXT
KEYS = TEXT.filter(lambda key: key != "on")
NODES: Any = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.lists(TEXT, max_size=3).map(tuple)
    ),
)
NOTED: Any = st.builds(
    Commented, st.sampled_from(["short", "a comment\nof two lines", "long " * 30]), NODES
)


def plain(value: Any) -> Any:
    """Return the value without comments, with tuples as lists."""
    match value:
        case Commented():
            return plain(value.value)
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value


@given(st.dictionaries(KEYS, NODES | NOTED | st.lists(NOTED, max_size=2), max_size=4))
def test_dumped_yaml_loads_as_the_same_value(document: dict[str, Any]) -> None:
    assert (yaml.safe_load(dump(document, "hello\nworld")) or {}) == plain(document)


def test_dumped_yaml_has_comments_and_literal_blocks() -> None:
    text = dump(
        {
            "name": "CI",
            "on": {"push": {"branches": ("main",)}},
            "jobs": {
                "a": Commented(
                    "What this is for.",
                    {
                        "steps": [
                            {"uses": Commented("v1", "x@y")},
                            {"name": "b", "run": "one\n  two\n"},
                        ]
                    },
                ),
                "b": {"needs": ("a",), "env": {}, "version": "3.10"},
            },
        },
        "Header",
    )
    assert text == (
        "# Header\n\nname: CI\n\non:\n  push:\n    branches: [main]\n\n"
        "jobs:\n  # What this is for.\n  a:\n    steps:\n      - uses: x@y # v1\n"
        "      - name: b\n        run: |\n          one\n            two\n\n"
        "  b:\n    needs: [a]\n    env: {}\n    version: '3.10'\n"
    )
    assert load(text)["on"] == {"push": {"branches": ["main"]}}
