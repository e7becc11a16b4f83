"""The settings files ~/.dtm.yaml and ~/.dtm/config: one key, and unknown keys are refused."""

from pathlib import Path

import pytest

from dtm.app import place
from engine.errors import UsageError


def chosen(home: Path) -> str | None:
    found = place.read_settings_file({"HOME": str(home)})
    return found[1] if found else None


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("stat: file:///s", "unknown key: stat", 'check the spelling: "state" is similar'),
        ("State: file:///s", "unknown key: State", 'check the spelling: "state" is similar'),
        (
            "state: file:///s\nregion: r\nbucket: b",
            "unknown key: bucket, region",
            'use the only key, "state"',
        ),
        ("1: 2", "unknown key: 1", 'use the only key, "state"'),
        ("[1]", "expected a map", ""),
        ("state: 1", "expected a map", ""),
        ("state: s.state", "must be absolute", "file:///srv"),
        ("a: [", "cannot read", "--state"),
    ],
)
def test_invalid_settings_file_is_refused(
    text: str, message: str, hint: str, tmp_path: Path
) -> None:
    (tmp_path / ".dtm.yaml").write_text(text, "utf-8")
    with pytest.raises(UsageError, match=message) as refused:
        chosen(tmp_path)
    assert str(tmp_path / ".dtm.yaml") in refused.value.message
    assert hint in refused.value.hint


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "state:", "state: ''"])
def test_empty_settings_file_names_no_state(text: str, tmp_path: Path) -> None:
    (tmp_path / ".dtm.yaml").write_text(text, "utf-8")
    assert chosen(tmp_path) is None


def test_first_settings_file_wins(tmp_path: Path) -> None:
    (tmp_path / ".dtm").mkdir()
    (tmp_path / ".dtm" / "config").write_text("state: file:///second", "utf-8")
    assert chosen(tmp_path) == "file:///second"
    (tmp_path / ".dtm.yaml").write_text("state: file:///first", "utf-8")
    assert chosen(tmp_path) == "file:///first"
