from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtm.render.text import Line, Span, age, cells, duration, grid, wrap
from dtm.render.values import ValueText, field_path, printable
from engine.values import UNKNOWN, Digest, Secret, Value

SHOW = ValueText(str)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("web", "web"),
        ("nginx:1.27", "nginx:1.27"),
        ("two words", "two words"),
        ("--push", "--push"),
        ("C:\\temp", "C:\\temp"),
        ("", '""'),
        ("42", '"42"'),
        ("1.10", '"1.10"'),
        ("0644", '"0644"'),
        ("true", '"true"'),
        ("No", '"No"'),
        ("null", '"null"'),
        ("(sensitive)", '"(sensitive)"'),
        ("[1]", '"[1]"'),
        ("a: b", '"a: b"'),
        ("a → b", '"a → b"'),
        ("x # y", '"x # y"'),
        (" x", '" x"'),
        ("tab\there", '"tab\\there"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        ("\u202e", '"\\u202e"'),
        ("1e5", '"1e5"'),
        (".5", '".5"'),
        ("0x1F", '"0x1F"'),
        ("1_000", '"1_000"'),
        ("-3", '"-3"'),
        ("853ff9", "853ff9"),
        ("1.2.3", "1.2.3"),
        ("10.0.0.1", "10.0.0.1"),
        ("2026-11-21", "2026-11-21"),
        ("1a", "1a"),
        (42, "42"),
        (1.5, "1.5"),
        (True, "true"),
        (None, "null"),
        ([], "[]"),
        ({}, "{}"),
        ([1, "a", [True]], "[1, a, [true]]"),
        ({"a b": 1, "c": {"d": "5"}}, '{"a b": 1, c: {d: "5"}}'),
        (Secret("x"), "(sensitive)"),
        (Digest("ab"), "(sensitive)"),
        (UNKNOWN, "(known after apply)"),
        ([UNKNOWN, Secret(1)], "[(known after apply), (sensitive)]"),
    ],
)
def test_value_on_one_line(value: Value, text: str) -> None:
    assert SHOW.inline(value) == text


@given(st.text())
def test_strings_are_distinct_and_hold_no_control_characters(text: str) -> None:
    shown = SHOW.inline(text)
    assert printable(shown) == shown
    assert shown == text or shown.startswith('"')


@given(st.text(), st.text())
def test_two_strings_never_look_the_same(one: str, two: str) -> None:
    assert one == two or SHOW.inline(one) != SHOW.inline(two)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ((), ""),
        (("a", "b"), "a.b"),
        (("a", 0, "b"), "a[0].b"),
        ((0,), "[0]"),
        (("a.b/c", "d"), '"a.b/c".d'),
        (("ä", "x-y_z"), "ä.x-y_z"),
        (("8080",), "8080"),
        (("a b", 1), '"a b"[1]'),
    ],
)
def test_field_path(parts: tuple[str | int, ...], text: str) -> None:
    assert field_path(parts) == text


@pytest.mark.parametrize(
    ("text", "width"), [("abc", 3), ("看板", 4), ("é", 1), ("e\u0301", 1), ("🎉", 2), ("\u200d", 0)]
)
def test_cells(text: str, width: int) -> None:
    assert cells(text) == width


words = st.lists(st.text("ab看 ", min_size=1, max_size=9).map(Span), max_size=8)


@given(words, st.integers(0, 4), st.integers(0, 4), st.integers(8, 30))
def test_wrapping_keeps_characters_and_width(
    spans: list[Span], indent: int, hang: int, width: int
) -> None:
    line = Line(indent, tuple(spans), hang)
    rows = list(wrap(line, width))
    assert "".join(row.text for row in rows).replace(" ", "") == line.text.replace(" ", "")
    for row in rows:
        last = row.text.split()[-1:]
        assert cells(row.text.rstrip()) <= width or indent + hang + cells(*last) > width
    assert [row.indent for row in rows] == [indent, *[indent + hang] * (len(rows) - 1)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0s"),
        (0.34, "0.3s"),
        (12.4, "12s"),
        (72, "1m 12s"),
        (7380, "2h 3m"),
        (3599.9, "1h 0m"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (4.9, "4 s"),
        (119, "119 s"),
        (840, "14 min"),
        (3 * 3600, "3 h"),
        (9e5, "10 days"),
    ],
)
def test_age(seconds: float, text: str) -> None:
    assert age(seconds) == text


@given(st.lists(st.text("ab看", min_size=1, max_size=12)), st.integers(1, 60))
def test_grid_holds_every_word_once_in_rows_that_fit(names: list[str], width: int) -> None:
    rows = grid(names, width)
    assert " ".join(rows).split() == names
    assert all(cells(row) <= max(width, max(map(cells, names))) for row in rows)
