"""The official Kubernetes client, loaded without its models and API classes.

dtm uses two classes and two modules of the client. To load all of it doubles the time of a short
command: docs/decisions/0063-sdk-loading.md has the figures.
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
"""The packages whose `__init__` imports all of their modules."""


class Sdk(msgspec.Struct, frozen=True):
    """The parts of the client that dtm uses."""

    Configuration: Any
    ApiClient: Any
    kube_config: Any
    incluster_config: Any


@cache
def sdk() -> Sdk:
    """Load the client, separate from any copy that other code imports before or after.

    Must not run while another thread imports the client.
    """
    # Python would return the packages of a copy that is already loaded, with all their modules.
    others = _unload()
    try:
        return _load()
    finally:
        # Remove the empty packages: other code that imports the client must get all of it.
        _unload()
        sys.modules.update(others)


def _load() -> Sdk:
    """Load the four parts, with an empty package in place of each package of PACKAGES."""
    spec = find_spec("kubernetes")
    assert spec is not None and spec.origin is not None  # a dependency of this distribution
    for name in PACKAGES:
        empty = ModuleType(name)
        empty.__path__ = [str(Path(spec.origin).parent.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = empty
    client: Any = sys.modules["kubernetes.client"]
    # The modules of kubernetes.config import both classes from this package.
    client.Configuration = import_module("kubernetes.client.configuration").Configuration
    client.ApiClient = import_module("kubernetes.client.api_client").ApiClient
    return Sdk(
        client.Configuration,
        client.ApiClient,
        import_module("kubernetes.config.kube_config"),
        import_module("kubernetes.config.incluster_config"),
    )


def _unload() -> dict[str, ModuleType]:
    """Remove every module of the client from `sys.modules` and return them."""
    names = [name for name in sys.modules if name.partition(".")[0] == "kubernetes"]
    return {name: sys.modules.pop(name) for name in names}
