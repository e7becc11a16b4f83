"""The official Kubernetes client without its 700 models: they take half of the time that it needs to load, and none is used.

docs/decisions/0061-kubernetes-client.md has the figures.
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
"""Each imports all that is in it; while we load what we need, an empty one stands there instead."""


class Sdk(msgspec.Struct, frozen=True):
    """What is used of it: two classes and two modules."""

    Configuration: Any
    ApiClient: Any
    kube_config: Any
    incluster_config: Any


@cache
def sdk() -> Sdk:
    """The client; a copy of its own unless somebody has loaded all of it anyway. Not while another thread is importing it."""
    return _modules() if "kubernetes" in sys.modules else _without_models()


def _modules() -> Sdk:
    configuration, api_client = (
        import_module("kubernetes.client.configuration"),
        import_module("kubernetes.client.api_client"),
    )
    client: Any = sys.modules["kubernetes.client"]
    client.Configuration, client.ApiClient = (
        configuration.Configuration,
        api_client.ApiClient,
    )  # where the others look for them
    return Sdk(
        client.Configuration,
        client.ApiClient,
        import_module("kubernetes.config.kube_config"),
        import_module("kubernetes.config.incluster_config"),
    )


def _without_models() -> Sdk:
    spec = find_spec("kubernetes")
    assert spec is not None and spec.origin is not None  # a dependency of this distribution
    try:
        for name in PACKAGES:
            empty = ModuleType(name)
            empty.__path__ = [str(Path(spec.origin).parent.joinpath(*name.split(".")[1:]))]
            sys.modules[name] = empty
        return _modules()
    finally:  # whoever imports the client from now on gets all of it
        for name in [name for name in sys.modules if name.partition(".")[0] == "kubernetes"]:
            del sys.modules[name]
