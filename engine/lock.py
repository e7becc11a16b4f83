"""The holder of the lock on a state, in the JSON form that Terraform also reads and writes.

An example:

    info = LockInfo.from_json(data)
    info.has_expired_lease(now)
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import cast

import msgspec

TERRAFORM_FIELDS = ("ID", "Operation", "Info", "Who", "Version", "Created", "Path")
"""The keys of Terraform's lock record, in Terraform's order. LockInfo has them in lower case."""
MAX_LEASE = 86400.0
"""Longest lease in seconds: a holder that stopped renewing blocks other runs for at most a day."""


def format_timestamp(at: datetime) -> str:
    """Format a time as RFC 3339, which Terraform reads: in UTC, with microseconds and `Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_lease(value: object) -> float | None:
    """Return the seconds of a lease from a record, None if the value is not a valid lease."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= MAX_LEASE:
        # NaN ends here as well, since no comparison with it is true.
        return None
    return float(value)


class LockInfo(msgspec.Struct, frozen=True):
    """One lock holder. `lease`: seconds, None if it never renews the lock. Times are RFC 3339."""

    id: str
    operation: str
    who: str
    version: str
    created: str
    path: str
    info: str = ""
    # Terraform never renews a lock, so that its records have no lease.
    lease: float | None = None
    renewed: str | None = None

    @property
    def holder(self) -> str:
        """The holder's name for messages. A record of another program may lack one."""
        return self.who or f"an unnamed client ({self.id})"

    @property
    def description(self) -> str:
        """The holder as `who (operation, id)`, without the parts that are empty."""
        details = ", ".join(part for part in (self.operation, self.id) if part)
        return f"{self.who or 'an unnamed client'} ({details})"

    def has_expired_lease(self, now: datetime) -> bool:
        """Return whether the last renewal is longer ago than the lease.

        This is only a hint for messages: it compares the clocks of two machines. A session that
        takes the lock over relies on its own clock only, and waits for a whole lease.
        """
        if not self.lease:
            return False
        try:
            renewed = datetime.fromisoformat(self.renewed or self.created)
        except ValueError:
            return True
        # abs(): a renewal far in the future comes from a wrong clock and proves nothing.
        renewed = renewed if renewed.tzinfo else renewed.replace(tzinfo=UTC)
        return abs((now - renewed).total_seconds()) > self.lease

    def to_json(self) -> bytes:
        """Return Terraform's seven fields, then `Lease` and `Renewed`, which Terraform ignores."""
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
        """Parse a record of dtm or Terraform, with keys in any case; None if it is unreadable."""
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
    """A lock record as it is stored.

    `info` is None if the record is unreadable. `version` is opaque and changes with each write.
    """

    info: LockInfo | None
    version: str

    @property
    def holder(self) -> str:
        """The holder's name for messages."""
        return self.info.holder if self.info else "an unreadable record"
