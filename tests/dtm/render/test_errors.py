from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from dtm.render.renderers import Kind
from engine.errors import ConfigError, DtmError, LockHeldError, Problem
from engine.lock import LockInfo, LockRecord
from tests.dtm.render.rendering import HOLDER, RECORD, Shown

DATE = "2022-05-30 17:08:08 !! [ERROR]  "


def error_text(error: BaseException, *, kind: Kind = "plain", debug: bool = False) -> str:
    shown = Shown(kind, width=200)
    shown.renderer.error(error, debug=debug)
    assert shown.out == ""
    return shown.err.replace(DATE, "error: ").replace("✖ ", "error: ")


@pytest.mark.parametrize("kind", ["plain", "rich"])
def test_error_has_place_message_and_hint(kind: Kind) -> None:
    error = DtmError(
        "the bucket is missing\nreally", hint="make it with dtm init --create", where="data/a"
    )
    assert (
        error_text(error, kind=kind)
        == "error: data/a: the bucket is missing\n  really\n  → make it with dtm init --create\n"
    )


@pytest.mark.parametrize("kind", ["plain", "rich"])
def test_config_problems_show_their_lines(tmp_path: Path, kind: Kind) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "tools:\n  - name: 看板\n    depndsOn: [a.b]\n"
        '    options: {名前: "${{ a.b.outputs.c }}"}\n',
        "utf-8",
    )
    problems = (
        Problem(
            f"{file}:3:5", 'unknown key "depndsOn"', 'check the spelling: "dependsOn" is similar'
        ),
        Problem(f"{file}:4:19", "no tool a/b"),
        Problem(f"{file}:2", "no column"),
        Problem(f"{file}:99:1", "beyond the end"),
        Problem(f"{tmp_path}/absent.yaml:1:1", "no file"),
        Problem("", "nowhere"),
    )
    text = error_text(ConfigError(problems), kind=kind).replace(str(tmp_path), "")
    assert text.splitlines() == [
        'error: /config.yaml:3:5: unknown key "depndsOn"',
        "     3 │     depndsOn: [a.b]",
        "       │     ^^^^^^^^",
        '  → check the spelling: "dependsOn" is similar',
        "error: /config.yaml:4:19: no tool a/b",
        '     4 │     options: {名前: "${{ a.b.outputs.c }}"}',
        "       │                     ^^^^^^^^^^^^^^^^^^^^^^",
        "error: /config.yaml:2: no column",
        "     2 │   - name: 看板",
        "error: /config.yaml:99:1: beyond the end",
        "error: /absent.yaml:1:1: no file",
        "error: nowhere",
        "error: 6 problems found, nothing was changed.",
    ]


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("password: hunter2", "password: (sensitive)"),
        ('  apiKey: "abc"', "  apiKey: (sensitive)"),
        ("  - {githubToken: abc, a: b}", "  - {githubToken: (sensitive)"),
        ("token: [[ env GITHUB_TOKEN ]]", "token: [[ env GITHUB_TOKEN ]]"),
        ("name: web", "name: web"),
    ],
)
def test_source_line_with_a_secret_is_cut(tmp_path: Path, source: str, shown: str) -> None:
    (tmp_path / "c.yaml").write_text(source, "utf-8")
    assert f"   1 │ {shown}\n" in error_text(
        ConfigError((Problem(f"{tmp_path}/c.yaml:1:1", "wrong"),))
    )


def test_internal_error_shows_traceback_only_with_debug() -> None:
    try:
        raise KeyError("x")
    except KeyError as error:
        brief, whole = error_text(error), error_text(error, debug=True)
    assert brief.startswith("error: KeyError: 'x'\n  → report this bug of dtm")
    assert "Traceback" not in brief and "test_errors.py" in whole


@pytest.mark.parametrize("kind", ["plain", "rich"])
def test_held_lock_shows_record_and_unlock_command(kind: Kind) -> None:
    error = LockHeldError(RECORD, hint="dtm force-unlock 92417f49-68a4")
    assert error_text(error, kind=kind).splitlines() == [
        "error: the state is locked by anna@build-7",
        "  ID         92417f49-68a4",
        "  Operation  apply",
        "  Who        anna@build-7",
        "  Version    0.1.0",
        "  Created    2022-05-30T16:54:00.000000Z (14 min ago)",
        "  Path       s3://b/k",
        "  Lease      30 s, renewed 4 s ago",
        "  → dtm force-unlock 92417f49-68a4",
    ]


@pytest.mark.parametrize(
    ("info", "lease"),
    [
        (
            replace(HOLDER, renewed="2022-05-30T16:54:00.000000Z"),
            "30 s, not renewed for 14 min: expired",
        ),
        (replace(HOLDER, renewed=None, created="2022-05-30T17:08:00Z"), "30 s, renewed 8 s ago"),
        (replace(HOLDER, renewed=None, created="yesterday"), "30 s, never renewed"),
        (
            replace(HOLDER, lease=None),
            "none: the holder never renews it, so only dtm force-unlock ends it",
        ),
    ],
)
def test_lease_text(info: LockInfo, lease: str) -> None:
    assert f"  Lease      {lease}\n" in error_text(LockHeldError(LockRecord(info, "1")))


def test_nanoseconds_of_terraform_are_read() -> None:
    info = replace(HOLDER, created="2022-05-30T17:07:08.151200792Z")
    assert "(59 s ago)" in error_text(LockHeldError(LockRecord(info, "1")))


def test_unreadable_lock_record() -> None:
    text = error_text(LockHeldError(LockRecord(None, "1")))
    assert text.splitlines()[1:] == ["  The lock record cannot be read."]
