"""Errors of the standard streams are distinct from errors of the work."""

import errno
import io
import os
import sys

import pytest

from dtm.cli.streams import OUTPUT, is_output_error, open_streams


def test_full_disk_of_work_is_distinct_from_full_output() -> None:
    assert is_output_error(OSError(errno.ENOSPC, "No space left on device", OUTPUT))
    assert is_output_error(BrokenPipeError(errno.EPIPE, "Broken pipe", OUTPUT))
    assert not is_output_error(OSError(errno.ENOSPC, "No space left on device"))
    assert not is_output_error(OSError(errno.ENOSPC, "No space left on device", "/work/file"))
    assert not is_output_error(BrokenPipeError(errno.EPIPE, "Broken pipe"))


def test_closed_pipe_names_the_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    kept = os.dup(1)
    os.dup2(writing, 1)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    try:
        open_streams()
        sys.stdout.write("text")
        with pytest.raises(BrokenPipeError) as caught:
            sys.stdout.flush()
        assert is_output_error(caught.value)
    finally:
        os.dup2(kept, 1)
        for descriptor in (kept, writing):
            os.close(descriptor)
