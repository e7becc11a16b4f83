"""Files to a Config, or to every problem that they have, in one run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import msgspec
import msgspec.inspect as shapes

from engine.config import Config, StateSettings, ToolSpec
from engine.loading.apps import expand
from engine.loading.files import Files, read
from engine.loading.problems import Report
from engine.loading.state_settings import plain_url, settings
from engine.loading.tools import Checker, ToolEntry
from engine.loading.variable_sources import bindings
from engine.loading.variables import Scope
from engine.options.decode import convert
from engine.schema import Catalog
from engine.values import Secret, Value


class ConfigSource(msgspec.Struct, frozen=True):
    """What to load: a file or directory, variables from the command line and files named there, and the surroundings."""

    path: Path
    variables: tuple[tuple[str, str], ...] = ()
    var_files: tuple[Path, ...] = ()
    env: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    cwd: Path = msgspec.field(default_factory=Path.cwd)


def load(
    source: ConfigSource,
    catalog: Catalog,
    *,
    state_url: Callable[[str], StateSettings] = plain_url,
    backends: Catalog | None = None,
) -> Config:
    """Read, render and check a whole configuration. Raises ConfigError with every problem at once.

    `state_url` reads the URL form of `state:`; without it the settings come back as backend "url" with the option `url`.
    `backends` are those that `state.backend` may name; without them its options are taken as they are.
    """
    report = Report()
    try:
        config = _load(source, catalog, state_url, backends, report)
    except RecursionError:
        report.add(str(source.path), "the values are nested too deeply")
        config = None
    report.check()
    assert config is not None  # otherwise there is a problem
    return config


def _load(
    source: ConfigSource,
    catalog: Catalog,
    state_url: Callable[[str], StateSettings],
    backends: Catalog | None,
    report: Report,
) -> Config:
    files = read(source.path, source.cwd, report)
    scope = Scope(
        bindings(files, source.env, source.var_files, source.variables), source.env, report
    )
    variables = {
        name: scope.value(name) for name in scope.bindings
    }  # one that nobody uses may be wrong, too
    found = settings(files, scope, state_url, backends)
    checker = Checker(catalog, source.env, report)
    for section in files.items("tools"):
        value = scope.render(section.value) if section.text.scanned.expressions else section.value
        checker.add(ToolEntry(value, section.place, simple=section.text.simple))
    for tool in expand(files, scope, checker.names):
        checker.add(ToolEntry(tool.value, tool.place, expanded=True))
    tools, outputs = checker.finish(), dict(_outputs(files, scope, checker))
    if not report.problems and not {"tools", "apps"} & files.sections.keys():
        report.add(
            files.shown(source.cwd / source.path),
            "there are no tools and no apps",
            "start from a sample: dtm show config",
        )
    report.check()
    _doubt(files, {tool.address.dotted for tool in tools})
    sensitive = {name: value for name, value in variables.items() if isinstance(value, Secret)}
    return Config(found, tools, outputs, _digest(tools, outputs), tuple(report.warnings), sensitive)


def _doubt(files: Files, tools: Collection[str]) -> None:
    """Warn of expressions that begin with a tool, and yet are no references: they stay as they are written."""
    for expression in files.expressions():
        if (
            not expression.text.startswith("${{")
            or ".outputs." in expression.text
            or expression.commented
        ):
            continue
        steps = expression.text[3:-2].strip().split(".")
        for number in range(2, len(steps) + 1):
            if (tool := ".".join(steps[:number])) in tools:
                meant = f"an output is written ${{{{ {tool}.outputs.KEY }}}}"
                files.report.warn(
                    f"{expression.where}: {expression.text} is no reference and stays as it is; {meant}"
                )


def _outputs(files: Files, scope: Scope, checker: Checker) -> Iterator[tuple[str, Value]]:
    for name, section in files.entries("outputs", "output").items():
        value, faults = convert(scope.render(section.value), shapes.AnyType(), (name,), "output")
        for fault in faults:
            scope.report.add(section.place.at(), fault.message, fault.hint)
        for _ in checker.targets(value, value, ToolEntry(value, section.place)):
            pass  # only to find references that lead nowhere
        yield name, value


def _digest(tools: tuple[ToolSpec, ...], outputs: Mapping[str, Value]) -> str:
    """Hex digest of everything that decides about a plan, but not of where it stands in which file."""
    parts = [
        (tool.address, tool.options, tool.depends_on, tool.lifecycle, tool.timeouts)
        for tool in tools
    ]
    data = msgspec.json.encode([parts, outputs], order="deterministic")
    digest = hashlib.sha256(data)
    if (
        b'"sources"' in data
    ):  # a field of Secret: a plain hash of little but a short secret could be searched for it
        return hashlib.scrypt(
            digest.digest(), salt=b"dtm config", n=2**13, r=8, p=1, dklen=32
        ).hex()
    return digest.hexdigest()
