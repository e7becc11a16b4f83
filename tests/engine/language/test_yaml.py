"""YAML files, by the fast reader and by PyYAML."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import given
from hypothesis import strategies as st

from engine.config import SourceLocation
from engine.errors import ConfigError
from engine.language import fast_yaml, yaml
from engine.language.expressions import (
    Expression,
    SourceText,
    TemplateKey,
    TextTemplate,
    replace_expressions,
)
from engine.language.scalars import Literal, read
from engine.values import Json, Value

FIXTURES = Path(__file__).parents[3] / "fixtures" / "configs"
SOURCES = [path.read_text("utf-8", "replace") for path in sorted(FIXTURES.rglob("*.y*ml"))]
FRAGMENTS = [
    "a",
    "b: c",
    "- ",
    "\n",
    "\n  ",
    "\n    ",
    "\n- ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "'",
    '"',
    "#",
    " #c",
    "0",
    "1",
    "1.5",
    "1.10",
    "0x1",
    "007",
    "true",
    "True",
    "null",
    "~",
    "yes",
    "2024-01-02",
    "&x ",
    "*x",
    "!t ",
    "<<: ",
    "? ",
    "---",
    "\n---\n",
    "...\n",
    "%",
    "@",
    "`",
    "\\",
    "\xe9",
    "\ue000",
    "\t",
    "x y",
    "a:b",
    "-",
    "?",
    "!",
    "''",
    "k: [a, b]\n",
    "k: {a: b}\n",
    "l:\n- a\n- b\n",
    "\n\n",
    "\n \n",
    ":",
    "1e3",
    ".inf",
    "12:30",
    "\x85",
    "\r\n",
    "|",
    "a: |\n  t\n",
    ">-\n  ",
    '"\\u00e9"',
    '"\\ud83d\\ude00"',
    "{a}",
    "[a:b]",
    '{"a":1}',
    "a: |\n",
    "!!str 1",
]


def read_with_pyyaml(text: str) -> tuple[list[Value], bool] | str:
    """Return the documents and whether they contain Literals, or the error message."""
    reader = yaml._Reader("x")
    try:
        return reader.documents(text), reader.literals
    except ConfigError as error:
        return error.message


def check_agreement(text: str) -> None:
    text = replace_expressions(SourceText("x", text)).text
    fast = fast_yaml.read(text)
    if fast is not None:
        assert read_with_pyyaml(text) == (fast, False)


def values() -> st.SearchStrategy[Json]:
    words = st.text("ab 1:-#'\"[]{},&*!|>%@`~é.\n\\", max_size=8) | st.sampled_from(FRAGMENTS)
    leaves: st.SearchStrategy[Json] = (
        st.none()
        | st.booleans()
        | st.integers(-(10**19), 10**19)
        | st.floats(allow_nan=False)
        | words
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
        max_leaves=20,
    )


@given(values(), st.sampled_from(["block", "flow", "mixed"]), st.booleans())
def test_both_readers_agree_on_written_values(value: Json, style: str, sort: bool) -> None:
    flow = {"block": False, "flow": True, "mixed": None}[style]
    check_agreement(
        pyyaml.safe_dump(
            value, default_flow_style=flow, allow_unicode=True, sort_keys=sort, width=10**6
        )
    )


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12))
def test_both_readers_agree_on_random_fragments(fragments: list[str]) -> None:
    check_agreement("".join(fragments) + "\n")


@given(st.sampled_from(SOURCES), st.data())
def test_both_readers_agree_on_damaged_configurations(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(0, 3))):
        start = data.draw(st.integers(0, len(text)))
        text = (
            text[:start]
            + data.draw(st.sampled_from(FRAGMENTS))
            + text[start + data.draw(st.integers(0, 5)) :]
        )
    check_agreement(text)


@given(st.text())
def test_any_text_raises_only_config_errors(text: str) -> None:
    with contextlib.suppress(ConfigError):
        yaml.parse("x", text)


@pytest.mark.parametrize(
    "text",
    [
        "tools:\n- name: data\n  instanceID: t1\n  dependsOn: [data.a, data.b]\n"
        "  options:\n    input: 5\n",
        "a: {b: [1, 1.5, -3], c: true, d: null, e: 'it''s', f: \"x\\ny\"}\n",
        "a: |\n  text\n  more\nb: >-\n  folded\n  text\nc: plain # comment\n",
        "# comment\n---\na: 10.0.0.1\nb: 5m\nc: 2024-01-02\nd: 12:30\n---\ne: yes\n",
        "",
    ],
)
def test_usual_text_is_read_by_the_fast_reader(text: str) -> None:
    assert fast_yaml.read(text + "\n") is not None


@pytest.mark.parametrize(
    "token",
    [
        "1.10",
        "0644",
        "+5",
        "1e3",
        "1E3",
        "0o14",
        "0x1F",
        ".5",
        "5.",
        "-0",
        "1_000",
        "_0",
        "0b11",
        "True",
        "TRUE",
        "False",
        ".inf",
        "-.INF",
        ".nan",
        "1.0e3",
        "12345678901234567890",
        "0.00001",
    ],
)
def test_fast_reader_leaves_ambiguous_numbers_to_pyyaml(token: str) -> None:
    for text in (
        f"a: {token}\n",
        f"- {token}\n",
        f"[{token}]\n",
        f"{{a: {token}, b: c}}\n",
        f"a:\n  - - {token}\n",
        f"{token}: x\n",
    ):
        assert fast_yaml.read(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("No", "No"),
        ("true", True),
        ("1.1", 1.1),
        ("1.10", Literal(1.1, "1.10")),
        ("0644", Literal(644, "0644")),
        ("0o14", Literal(12, "0o14")),
        ("0x1F", Literal(31, "0x1F")),
        ("1e3", Literal(1000.0, "1e3")),
        ("2024-01-02", "2024-01-02"),
        ("1:30", "1:30"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("0b1", "0b1"),
        ("-0x1", "-0x1"),
        ("~", None),
        ("", None),
        ("Null", None),
        ("nil", "nil"),
        ("TRUE", Literal(True, "TRUE")),
        ("tRUE", "tRUE"),
        ("5.", Literal(5.0, "5.")),
        (".5", Literal(0.5, ".5")),
        ("+5", Literal(5, "+5")),
        ("-5", -5),
        (".", "."),
        ("-", "-"),
        ("+", "+"),
        ("1.2.3", "1.2.3"),
        ("5m", "5m"),
        ("9" * 400, "9" * 400),
        ("1e16", Literal(1e16, "1e16")),
        ("1e+16", 1e16),
        ("٣", "٣"),
        (".inf", Literal(float("inf"), ".inf")),
        ("-.INF", Literal(float("-inf"), "-.INF")),
        ("inf", "inf"),
        ("nan", "nan"),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, value: Value) -> None:
    assert read(text) == value


@given(st.floats() | st.integers(), st.sampled_from(["{}", "{:.3e}", "{:+}", "{:.2f}"]))
def test_number_without_literal_is_written_as_it_was_read(number: float, form: str) -> None:
    text = form.format(number)
    found = read(text)
    assert (
        found == text
        or isinstance(found, Literal)
        or (isinstance(found, int | float) and repr(found) == text)
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\n", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("a: {<<: [{b: 1}, {b: 2, c: 3}], d: 4}\n", {"a": {"b": 1, "c": 3, "d": 4}}),
        ("a: {'<<': {b: 1}}\n", {"a": {"<<": {"b": 1}}}),
        ("a: &x [1]\nb: *x\n", {"a": [1], "b": [1]}),
        ("1: a\ntrue: b\n1.50: c\nnull: d\n", {"1": "a", "true": "b", "1.50": "c", "null": "d"}),
        ("a: !!str 5\nb: !!int 5\n", {"a": "5", "b": 5}),
        ("\ufeffa: b\r\nc:\td\r\n", {"a": "b", "c": "d"}),
        ("[[1, 2], [3]]\n", [[1, 2], [3]]),
        (
            "a: [[1]]\nb: [['x']]\nc: [[a, b], [c]]\n",
            {"a": [[1]], "b": [["x"]], "c": [["a", "b"], ["c"]]},
        ),
    ],
)
def test_merges_aliases_tags_and_nested_lists(text: str, value: Value) -> None:
    assert yaml.parse("x", text).documents == [value]


def test_empty_documents_keep_the_numbers_of_later_ones() -> None:
    text = yaml.parse("x", "# first\n---\na: 1\n---\n---\nb: 2\n")
    assert text.documents == [{"a": 1}, None, {"b": 2}]
    assert text.at(2, ("b",)) == "x:6:4"


def parts(text: str) -> Any:
    (document,) = yaml.parse("x", text).documents
    assert isinstance(document, dict)
    (found,) = document.values()
    return (
        [part if isinstance(part, str) else (part.text, part.where) for part in found.parts]
        if isinstance(found, TextTemplate)
        else found
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: [[ x ]]/[[ y ]]\n", [("[[ x ]]", "x:1:4"), "/", ("[[ y ]]", "x:1:12")]),
        ("a: '[[ x ]]'\n", [("[[ x ]]", "x:1:5")]),
        ("a: [[x]][[y]]0\n", [("[[x]]", "x:1:4"), ("[[y]]", "x:1:9"), "0"]),
        (
            "a: {o: ${{ a.b.outputs.c }}}\n",
            {"o": TextTemplate((Expression("${{ a.b.outputs.c }}", SourceText("x", ""), 7),))},
        ),
        (
            "a: |\n  é [[ x ]]\n  # [[ y ]]\n",
            ["é ", ("[[ x ]]", "x:2:5"), "\n# ", ("[[ y ]]", "x:3:5"), "\n"],
        ),
        ("a: b # [[ x ]]\n", "b"),
        ('a: "[[ env "X" | default: "y z" ]]"\n', [('[[ env "X" | default: "y z" ]]', "x:1:5")]),
        ("a: [[ .x.y-z.0 ]]\n", [("[[ .x.y-z.0 ]]", "x:1:4")]),
        ("a: if [[ -n $x ]] && [[ a == b ]]; then\n", "if [[ -n $x ]] && [[ a == b ]]; then"),
        ("a: ${{ github.event == 'x' }}\n", "${{ github.event == 'x' }}"),
        (
            'a: "\\uE000\\uE001\\uE001\\uE001\\uE001 [[x]]"\n',
            ["\ue000\ue001\ue001\ue001\ue001 ", ("[[x]]", "x:1:36")],
        ),
        ("a: \ue000[[x]]\n", ["\ue000", ("[[x]]", "x:1:5")]),
    ],
)
def test_expressions_are_found_at_their_places(text: str, found: Any) -> None:
    result = parts(text)
    if isinstance(result, dict):
        result, found = str(result["o"]), str(found["o"])
    assert result == found


def test_expression_in_key_becomes_a_template_key() -> None:
    (document,) = yaml.parse("x", "[[ k ]]: 1\n").documents
    assert isinstance(document, dict)
    (key,) = document
    assert key == "[[ k ]]"
    assert isinstance(key, TemplateKey)


def test_thousands_of_expressions_keep_their_identity() -> None:
    text = "".join(f"- [[v{number % 7}]]\n" for number in range(5000))
    (document,) = yaml.parse("x", text).documents
    assert isinstance(document, list)
    assert [str(item) for item in document] == [f"[[v{number % 7}]]" for number in range(5000)]


@pytest.mark.parametrize(
    ("path", "key", "at"),
    [
        ((), False, "x:2:1"),
        (("tools", 0, "name"), False, "x:3:9"),
        (("tools", 0, "name"), True, "x:3:3"),
        (("tools", 0, "nope"), False, "x:3:3"),
        (("tools", 9), False, "x:3:1"),
        (("tools", 0, "options", "merged"), True, "x:1:0"),
    ],
)
def test_places_of_values_and_keys(path: tuple[str | int, ...], key: bool, at: str) -> None:
    text = "# x\ntools:\n- name: é\n  options: {<<: {merged: 1}}\n"
    expected = at if at != "x:1:0" else "x:4:18"
    assert yaml.parse("x", text).at(0, path, key=key) == expected


def test_locate_reads_the_file_again(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("tools:\n- name: data\n  options: {a: [[ x ]]}\n")
    assert yaml.locate(SourceLocation(str(path), 0, ("tools", 0, "options"))) == f"{path}:3:12"
    assert yaml.locate(SourceLocation(str(path), 3)) == str(path)
    assert yaml.locate(SourceLocation(str(tmp_path / "gone.yaml"))) == str(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "- " * 50_000 + "x", "{a: " * 3000, "? " * 30_000, "[[[[" * 500 + "]]]]" * 500],
)
def test_deep_nesting_is_refused_without_a_crash(text: str) -> None:
    with pytest.raises(ConfigError):
        yaml.parse("x", text)


def test_exponential_aliases_are_refused() -> None:
    lines = ["a0: &a0 [x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)
    ]
    with pytest.raises(ConfigError, match="nested too deeply"):
        yaml.parse("x", "\n".join(lines) + "\n")
