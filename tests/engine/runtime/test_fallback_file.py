"""Fallback files: bytes that could not be stored where they belong."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from engine.runtime import fallback_file


def test_file_is_private_and_never_overwrites_another(tmp_path: Path) -> None:
    def places() -> list[Path]:
        return [tmp_path / "one", tmp_path / "two"]

    first = Path(fallback_file.save_fallback_file("x.dtm", b"1", places))
    assert first == tmp_path / "one" / "x.dtm" and first.read_bytes() == b"1"
    assert first.stat().st_mode & 0o777 == 0o600 and first.parent.stat().st_mode & 0o777 == 0o700
    second = Path(fallback_file.save_fallback_file("x.dtm", b"2", places))
    assert second == tmp_path / "two" / "x.dtm" and first.read_bytes() == b"1"


def test_full_disk_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full, good = tmp_path / "full", tmp_path / "good"
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if (full / "x.dtm").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert fallback_file.save_fallback_file("x.dtm", b"the records", lambda: [full, good]) == str(
        good / "x.dtm"
    )
    assert not list(full.iterdir()) and (good / "x.dtm").read_bytes() == b"the records"


def test_data_goes_to_stdout_without_writable_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert (
        fallback_file.save_fallback_file("x.dtm", b"the records", lambda: [blocked / "sub"])
        == fallback_file.STDOUT
    )
    assert capsys.readouterr().out == "the records"


def test_current_directory_is_tried_before_user_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    assert fallback_file.fallback_directories() == [tmp_path, Path("/somewhere/dtm")]
