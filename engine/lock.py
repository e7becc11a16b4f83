"""The holder of the lock on a state, in the JSON form that Terraform reads and writes, too."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import cast

import msgspec

# Names of LockInfo's fields, in lower case; the order is Terraform's.
TERRAFORM_FIELDS = ("ID", "Operation", "Info", "Who", "Version", "Created", "Path")
MAX_LEASE = 86400.0
"""Seconds: a holder that stopped renewing is believed for a day at most."""


def format_timestamp(at: datetime) -> str:
    """Write RFC 3339 in UTC, microseconds, trailing Z: the only form Terraform can read back."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_lease(value: object) -> float | None:
    """Read the seconds of a lease from a record; None where they cannot be one."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= MAX_LEASE:
        return None  # NaN, too: no comparison holds for it
    return float(value)


class LockInfo(msgspec.Struct, frozen=True):
    """One holder. `lease` is in seconds, None for holders that never renew; times are RFC 3339."""

    id: str
    operation: str
    who: str
    version: str
    created: str
    path: str
    info: str = ""
    lease: float | None = None  # Terraform renews nothing and has none
    renewed: str | None = None

    @property
    def holder(self) -> str:
        """The holder's name for messages; a foreign record may have none."""
        return self.who or f"somebody unnamed ({self.id})"

    @property
    def description(self) -> str:
        """`who (operation, id)`, without what is empty."""
        details = ", ".join(part for part in (self.operation, self.id) if part)
        return f"{self.who or 'somebody unnamed'} ({details})"

    def has_expired_lease(self, now: datetime) -> bool:
        """Tell whether this holder seems to have stopped renewing.

        This is a hint, since it compares the clocks of two machines.
        """
        if not self.lease:
            return False
        try:
            renewed = datetime.fromisoformat(self.renewed or self.created)
        except ValueError:
            return True
        renewed = renewed if renewed.tzinfo else renewed.replace(tzinfo=UTC)
        return abs((now - renewed).total_seconds()) > self.lease

    def to_json(self) -> bytes:
        """Write Terraform's seven fields, then `Lease` and `Renewed`, which Terraform ignores."""
        data: dict[str, str | float] = {
            name: getattr(self, name.lower()) for name in TERRAFORM_FIELDS
        }
        if self.lease is not None:
            data["Lease"] = self.lease
        if self.renewed is not None:
            data["Renewed"] = self.renewed
        return json.dumps(data).encode()

    @classmethod
    def from_json(cls, data: bytes) -> LockInfo | None:
        """Read dtm's record or Terraform's, in any key case; None if it is unreadable."""
        try:
            raw: object = json.loads(data)
        except ValueError:
            return None
        if not isinstance(raw, dict):
            return None
        found = {str(k).lower(): v for k, v in cast("dict[object, object]", raw).items()}
        if not isinstance(found.get("id"), str) or not found["id"]:
            return None
        renewed = found.get("renewed")
        return cls(
            **{name: str(found.get(name) or "") for name in map(str.lower, TERRAFORM_FIELDS)},
            lease=parse_lease(found.get("lease")),
            renewed=renewed if isinstance(renewed, str) else None,
        )


class LockRecord(msgspec.Struct, frozen=True):
    """A record as a locker found it.

    `info` is None where it is unreadable; `version` is opaque and changes with each write.
    """

    info: LockInfo | None
    version: str

    @property
    def holder(self) -> str:
        """The holder's name for messages."""
        return self.info.holder if self.info else "an unreadable record"
