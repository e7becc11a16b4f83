"""Commands in hints get the flags that lead to the same state; everything else is unchanged."""

from typing import Any

import pytest

from dtm.cli.hints import add_flags, location_flags, with_hint_flags
from engine.address import Address
from engine.errors import ConfigError, DtmError, LockHeldError, Problem, StateError
from engine.events import ApplyErrored, ApplySummary, Notice
from engine.plan import Action
from tests.dtm.render.rendering import RECORD, Shown


@pytest.mark.parametrize(
    ("given", "env", "flags"),
    [
        ({}, {}, ""),
        ({"state_url": "", "chdir": None, "config_file": None}, {"DTM_STATE": ""}, ""),
        ({"state_url": "file:///srv/s?lease=5s"}, {}, "--state 'file:///srv/s?lease=5s'"),
        ({"config_file": "a b.yaml"}, {}, "-f 'a b.yaml'"),
        (
            {"chdir": "x", "config_file": "c.yaml", "state_url": "s"},
            {},
            "--chdir x -f c.yaml --state s",
        ),
        ({"state_url": ""}, {"DTM_STATE": "s"}, "--state s"),
        ({"state_url": "mine"}, {"DTM_STATE": "s"}, "--state mine"),
    ],
)
def test_flags_repeat_the_choice_of_config_and_state(
    given: dict[str, Any], env: dict[str, str], flags: str
) -> None:
    assert location_flags(given, env) == flags


@pytest.mark.parametrize(
    ("hint", "completed"),
    [
        ("dtm force-unlock 12", "dtm force-unlock -f c 12"),
        ("dtm state recover out.dtm", "dtm state recover -f c out.dtm"),
        (
            "3 outcomes were saved: dtm state recover out.dtm",
            "3 outcomes were saved: dtm state recover -f c out.dtm",
        ),
        ("`dtm state history` lists them", "`dtm state history -f c` lists them"),
        (
            "copy it: dtm state pull --state b | dtm state push - --adopt",
            "copy it: dtm state pull --state b | dtm state push -f c - --adopt",
        ),
        ("list all plugins with dtm list plugins", "list all plugins with dtm list plugins"),
        (
            "start from a sample: dtm show config > config.yaml",
            "start from a sample: dtm show config > config.yaml",
        ),
        ("a dtm plan", "a dtm plan -f c"),
        ("", ""),
    ],
)
def test_every_command_in_a_hint_gets_the_flags(hint: str, completed: str) -> None:
    assert add_flags(hint, "-f c") == completed
    assert add_flags(hint, "") == hint


@pytest.mark.parametrize(
    "error",
    [
        StateError("broken", hint="dtm state history"),
        LockHeldError(RECORD, hint="dtm state history"),
        ConfigError((Problem("a:1:1", "wrong", "dtm state history"), Problem("a:2:1", "wrong"))),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "rich", "json"])
def test_hints_of_errors_get_the_flags(kind: Any, error: DtmError) -> None:
    shown = Shown(kind)
    with_hint_flags(shown.renderer, "--state s").error(error)
    assert "dtm state history --state s" in shown.out + shown.err


def test_hints_of_notices_and_events_get_the_flags() -> None:
    shown = Shown("plain")
    renderer = with_hint_flags(shown.renderer, "--state s")
    renderer.notice("warning", "one", hint="dtm lock")
    renderer.event(Notice("warning", "two", "dtm plan"))
    renderer.event(ApplyErrored(Address("data", "a"), Action.CREATE, "three", "dtm apply", 1.0, 1))
    renderer.event(ApplySummary({}, (Address("data", "a"),), (), 1.0, "s"))
    assert [line.strip() for line in shown.err.splitlines() if "→" in line] == [
        "→ dtm lock --state s",
        "→ dtm plan --state s",
        "→ dtm apply --state s",
        "→ remove the cause, then run the same command again: it continues with what is left",
    ]


def test_output_without_a_hint_is_unchanged() -> None:
    shown = Shown("plain")
    renderer = with_hint_flags(shown.renderer, "--state s")
    renderer.data("dtm plan")
    assert shown.out == "dtm plan\n"


def test_renderer_is_unchanged_without_flags() -> None:
    shown = Shown("plain")
    assert with_hint_flags(shown.renderer, "") is shown.renderer
