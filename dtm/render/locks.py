"""The record of a lock as lines, with the age of its last renewal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from dtm.render.text import Clean, Line, Span, age, line
from dtm.render.values import printable
from engine.lock import LockInfo, LockRecord

LABEL = 11


def lock_lines(record: LockRecord, now: datetime, clean: Clean) -> Iterator[Line]:
    """Yield every field of the record, and its age.

    The caller adds the next step.
    """
    info = record.info
    if info is None:
        yield line(2, "The lock record cannot be read.")
        return
    for label, text in (
        ("ID", info.id),
        ("Operation", info.operation),
        ("Who", info.who),
        ("Version", info.version),
        ("Created", info.created + _ago(info.created, now)),
        ("Path", info.path),
        ("Info", info.info),
    ):
        if text:
            yield line(2, Span(f"{label:{LABEL}}", "key"), printable(clean(text)), hang=LABEL)
    yield line(2, Span(f"{'Lease':{LABEL}}", "key"), lease(info, now), hang=LABEL)


def lease(info: LockInfo, now: datetime) -> str:
    """Return `30 s, renewed 4 s ago`, or `30 s, not renewed for 14 min: expired`."""
    if info.lease is None:
        return "none: the holder never renews it, so only dtm force-unlock ends it"
    silent = _seconds(info.renewed or info.created, now)
    if silent is None:
        return f"{info.lease:g} s, never renewed"
    # Only a hint, because the clocks of two machines may differ.
    if silent > info.lease:
        return f"{info.lease:g} s, not renewed for {age(silent)}: expired"
    return f"{info.lease:g} s, renewed {age(silent)} ago"


def _ago(text: str, now: datetime) -> str:
    seconds = _seconds(text, now)
    return "" if seconds is None else f" ({age(seconds)} ago)"


def _seconds(text: str, now: datetime) -> float | None:
    """Return the seconds since an RFC 3339 time, None if the text is not one.

    Terraform writes nanoseconds, of which Python reads six digits.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (now - (at if at.tzinfo else at.replace(tzinfo=UTC))).total_seconds()
