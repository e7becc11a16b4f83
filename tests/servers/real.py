"""Real servers beside this run: `python -m tests.servers` starts them, and writes a file."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from tests.servers.dynamodb import Dynamo
from tests.servers.kube import Kube
from tests.servers.rgw import Rgw

VARIABLE: Final = "DTM_REAL_SERVERS"
"""Names the file."""


class Terraform(msgspec.Struct, frozen=True):
    """The real binary."""

    title: str
    path: str


class Real(msgspec.Struct, frozen=True):
    """The running servers; `missing` says in a line each why one is absent. `room` holds logs."""

    room: str = ""
    rgw: Rgw | None = None
    dynamodb: Dynamo | None = None
    kubernetes: Kube | None = None
    terraform: Terraform | None = None
    missing: dict[str, str] = {}

    def why_not(self, name: str) -> str:
        """One line."""
        return self.missing.get(name, "`make test-real` starts it")


@cache
def real() -> Real:
    """Return the servers beside this run; none unless `python -m tests.servers` started it."""
    path = os.environ.get(VARIABLE)
    return msgspec.json.decode(Path(path).read_bytes(), type=Real) if path else Real()
