"""dtm: declarative engine for DevOps toolchains.

Plugin authors import only this package and `dtm.testing`.
"""

import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from typing import Final

__version__: Final = "0.1.0"

PUBLIC: Final = {
    "engine.address": ("Address",),
    "engine.errors": (
        "AuthError",
        "DtmError",
        "NotFoundError",
        "OutcomeUnknownError",
        "PluginError",
        "ProviderError",
    ),
    "engine.ports": ("BY_ADDRESS", "Call", "Provider"),
    "engine.schema": ("Field", "Options", "Outputs"),
    "engine.state": ("Resource",),
    "engine.values": ("UNKNOWN", "Attributes", "Unknown", "UnknownValueError", "Value"),
}
"""The names that a plugin author needs, by module. Each is loaded on first use for a fast start."""


def __getattr__(name: str) -> object:
    for module, names in PUBLIC.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _refuse_other_packages() -> None:
    """Exit if `engine`, `backends` or `providers` belongs to another distribution.

    These names are common, and Python would import the other package in place of dtm's own.
    """
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - pathlib costs 5 ms here
    for name in ("engine", "backends", "providers"):
        module = sys.modules.get(name)
        spec = module.__spec__ if module else PathFinder.find_spec(name)
        expected = os.path.join(home, name, "__init__.py")  # noqa: PTH118
        if spec and spec.origin != expected:
            found = spec.origin or ", ".join(spec.submodule_search_locations or ())
            sys.exit(
                f"dtm cannot start: the package `{name}` that Python finds ({found}) "
                f"is not dtm's own ({expected}). "
                "Remove that package from this environment, or install dtm into a separate "
                "environment: pipx install . in a clone of dtm"
            )


_refuse_other_packages()
