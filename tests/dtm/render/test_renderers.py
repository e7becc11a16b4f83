from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from time import perf_counter

import pytest

from dtm.app.comparison import Difference
from dtm.render.port import Renderer
from dtm.render.renderers import Kind, make_renderer
from dtm.render.screen import Screen
from dtm.render.text import Level
from engine.address import Address
from engine.events import ApplyComplete, ApplyStart, ApplySummary
from engine.lock import LockRecord
from engine.plan import Action, Change, Plan, Reason
from engine.planning.diff import diff
from engine.values import Secret
from fixtures.plans.examples import BASE
from tests.dtm.render.rendering import DATA, NOON, RECORD, WEB, Shown

KINDS: tuple[Kind, ...] = ("rich", "plain", "json")
PEOPLE: tuple[Kind, ...] = ("rich", "plain")


@pytest.mark.parametrize(("kind", "imported"), [("plain", False), ("json", False), ("rich", True)])
def test_rich_is_imported_only_for_a_terminal(kind: str, imported: bool) -> None:
    code = (
        "import sys\n"
        "from dtm.render.renderers import make_renderer\n"
        "from dtm.render.screen import Screen\n"
        f"make_renderer({kind!r}, Screen(sys.stdout, sys.stderr, str))\n"
        "print('rich' in sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == f"{imported}\n"


@pytest.mark.parametrize("kind", KINDS)
def test_text_is_utf_8_in_any_locale(kind: Kind) -> None:
    raw = BytesIO()
    renderer = make_renderer(kind, Screen(TextIOWrapper(raw, "ascii"), StringIO(), str))
    renderer.data("→ 看板 \udc80")
    renderer.close()
    assert "→ 看板" in raw.getvalue().decode("utf-8")


@pytest.mark.parametrize("kind", PEOPLE)
@pytest.mark.parametrize(
    ("show", "text"),
    [
        (lambda r: r.version("0.1.0"), "0.1.0\n"),
        (
            lambda r: r.data("as it is, however long " + "x " * 100),
            "as it is, however long " + "x " * 100 + "\n",
        ),
        (lambda r: r.data("ends\n"), "ends\n"),
        (lambda r: r.value("1.10"), "1.10\n"),
        (lambda r: r.value(["é", 1, {"a": None}]), '["é", 1, {"a": null}]\n'),
        (lambda r: r.value(Secret("x")), "(sensitive)\n"),
        (lambda r: r.table([]), ""),
        (
            lambda r: r.table([{"address": "data/a", "n": 1}, {"address": "看板/b", "n": None}]),
            "ADDRESS  N\ndata/a   1\n看板/b\n",
        ),
        (
            lambda r: r.table(
                [
                    {"works": "yes", "how": "", "id": "1.10"},
                    {"works": "a: b", "how": "c\nd", "id": True},
                ]
            ),
            "WORKS  HOW       ID\nyes              1.10\na: b   c\\u000ad  true\n",
        ),
        (
            lambda r: r.outputs({"url": "https://x", "t": Secret("x"), "l": [1]}),
            "url: https://x\nt: (sensitive)\nl: [1]\n",
        ),
        (
            lambda r: r.document({"a": {"b": [{"c": 1, "d": "x\ny\n"}, [], "e"]}}, title="data/a"),
            "data/a\n  a:\n    b:\n      - c: 1\n        d: |\n"
            "          x\n          y\n      - []\n      - e\n",
        ),
        (lambda r: r.lock(None), "The state is not locked.\n"),
        (lambda r: r.differences([]), "No differences.\n"),
        (
            lambda r: r.differences(
                [
                    Difference(DATA, "changed", diff({"x": 1}, {"x": 2, "y": 3})),
                    Difference(WEB, "removed"),
                    Difference(WEB, "added"),
                ]
            ),
            "~ data/a\n    ~ x: 1 → 2\n    + y: 3\n\n"
            "- repo-scaffolding/web\n\n+ repo-scaffolding/web\n",
        ),
    ],
)
def test_data_goes_to_stdout(kind: Kind, show: Callable[[Renderer], None], text: str) -> None:
    shown = Shown(kind)
    show(shown.renderer)
    assert (shown.out, shown.err) == (text, "")


@pytest.mark.parametrize("kind", PEOPLE)
def test_lock_record_goes_to_stdout(kind: Kind) -> None:
    shown = Shown(kind)
    shown.renderer.lock(RECORD)
    shown.renderer.lock(LockRecord(None, "1"))
    assert (
        "ID         92417f49-68a4\n" in shown.out
        and "The lock record cannot be read.\n" in shown.out
    )


@pytest.mark.parametrize(
    ("level", "verbose", "quiet", "shown_at_all"),
    [
        ("debug", False, False, False),
        ("debug", True, False, True),
        ("info", False, True, False),
        ("warning", False, True, True),
        ("error", False, True, True),
    ],
)
@pytest.mark.parametrize("kind", PEOPLE)
def test_verbose_and_quiet_select_levels(
    kind: Kind, level: Level, verbose: bool, quiet: bool, shown_at_all: bool
) -> None:
    shown = Shown(kind, verbose=verbose, quiet=quiet)
    shown.renderer.notice(level, "word", hint="step")
    assert ("word" in shown.err) is shown_at_all and shown.out == ""


@pytest.mark.parametrize("kind", ["plain", "json"])
def test_ten_thousand_changes_are_logged_within_a_second(kind: Kind) -> None:
    tools = [Address("data", f"t{i}") for i in range(10_000)]
    plan = Plan(
        BASE,
        "",
        tuple(
            Change(each, Action.CREATE, Reason.NEW, after={"input": {"a": 1, "b": "x"}})
            for each in tools
        ),
    )
    shown = Shown(kind)
    start = perf_counter()
    shown.renderer.plan(plan)
    planned = perf_counter()
    for number, each in enumerate(tools, 1):
        shown.renderer.event(ApplyStart(each, Action.CREATE, number, len(tools)))
        shown.renderer.event(ApplyComplete(each, Action.CREATE, "id", 0.1))
    shown.renderer.event(ApplySummary({Action.CREATE: len(tools)}, (), (), 1.0, "s"))
    applied = perf_counter()
    slack = 3  # the figure is for a machine of its own; tests share theirs
    assert planned - start < 1.0 * slack and applied - planned < 1.0 * slack


def test_order_is_kept_if_both_streams_are_one_file(tmp_path: Path) -> None:
    both = tmp_path / "both.txt"
    with (
        both.open("a", encoding="utf-8") as out,
        both.open("a", encoding="utf-8", buffering=1) as err,
    ):
        renderer = make_renderer("plain", Screen(out, err, str, lambda: NOON))
        renderer.data("first")
        renderer.notice("info", "second")
        renderer.data("third")
        renderer.close()
    assert [line.split()[-1] for line in both.read_text("utf-8").splitlines()] == [
        "first",
        "second",
        "third",
    ]
