"""The running real servers, which `python -m tests.servers` starts and writes to a file."""

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
"""The environment variable with the path of that file."""


class Terraform(msgspec.Struct, frozen=True):
    """The terraform binary."""

    title: str
    path: str


class Real(msgspec.Struct, frozen=True):
    """The running servers; `missing` says why others are absent. `folder` is the folder of logs."""

    folder: str = ""
    rgw: Rgw | None = None
    dynamodb: Dynamo | None = None
    kubernetes: Kube | None = None
    terraform: Terraform | None = None
    missing: dict[str, str] = {}

    def why_not(self, name: str) -> str:
        """Return why a server is absent, in one line."""
        return self.missing.get(name, "`make test-real` starts it")


@cache
def real() -> Real:
    """Return the running servers; none without `python -m tests.servers`."""
    path = os.environ.get(VARIABLE)
    return msgspec.json.decode(Path(path).read_bytes(), type=Real) if path else Real()
