"""The official Kubernetes client without its models and API classes.

Loading all of the client doubles the time of a short command; dtm uses two classes and two modules
of it. docs/decisions/0063-sdk-loading.md has the figures.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

PACKAGES: Final = (
    "kubernetes",
    "kubernetes.client",
    "kubernetes.client.models",
    "kubernetes.config",
)
"""The packages that import everything inside them when they are loaded."""


class Sdk(msgspec.Struct, frozen=True):
    """The parts of the client that dtm uses."""

    Configuration: Any
    ApiClient: Any
    kube_config: Any
    incluster_config: Any


@cache
def sdk() -> Sdk:
    """Load the client beside any copy that other code has imported or imports later.

    Must not run while another thread imports the client.
    """
    # A copy that is loaded already would give whole packages instead of empty ones.
    others = _take_out()
    try:
        return _load()
    finally:
        # Other code must get the whole client, so the empty packages do not stay.
        _take_out()
        sys.modules.update(others)


def _load() -> Sdk:
    """Load the four parts, with an empty package in the place of each of PACKAGES."""
    spec = find_spec("kubernetes")
    assert spec is not None and spec.origin is not None  # a dependency of this distribution
    for name in PACKAGES:
        empty = ModuleType(name)
        empty.__path__ = [str(Path(spec.origin).parent.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = empty
    client: Any = sys.modules["kubernetes.client"]
    # The modules of kubernetes.config import both classes from the package.
    client.Configuration = import_module("kubernetes.client.configuration").Configuration
    client.ApiClient = import_module("kubernetes.client.api_client").ApiClient
    return Sdk(
        client.Configuration,
        client.ApiClient,
        import_module("kubernetes.config.kube_config"),
        import_module("kubernetes.config.incluster_config"),
    )


def _take_out() -> dict[str, ModuleType]:
    """Remove every module of the client from `sys.modules` and return them."""
    names = [name for name in sys.modules if name.partition(".")[0] == "kubernetes"]
    return {name: sys.modules.pop(name) for name in names}
