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
from engine.loading.tools import ToolChecker, ToolEntry
from engine.loading.variable_sources import bind_variables
from engine.loading.variables import Scope
from engine.options.decode import convert
from engine.schema import Catalog
from engine.values import Secret, Value


class ConfigSource(msgspec.Struct, frozen=True):
    """A file or directory to load, with the variables given beside it.

    `variables` come from --var, `var_files` from --var-file; relative paths start at `cwd`.
    """

    path: Path
    variables: tuple[tuple[str, str], ...] = ()
    var_files: tuple[Path, ...] = ()
    env: Mapping[str, str] = {}
    cwd: Path = msgspec.field(default_factory=Path.cwd)


def load(
    source: ConfigSource,
    catalog: Catalog,
    *,
    state_url: Callable[[str], StateSettings] = plain_url,
    backends: Catalog | None = None,
) -> Config:
    """Read, render and check a whole configuration. Raises ConfigError with every problem at once.

    `state_url` reads the URL form of `state:`; without it the settings come back as backend "url"
    with the option `url`. `backends` are those that `state.backend` may name; without them the
    backend's options are taken as they are.
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
    bound = bind_variables(files, source.env, source.var_files, source.variables)
    scope = Scope(bound, source.env, report)
    variables = ((name, scope.value(name)) for name in bound)  # an unused one may be wrong, too
    sensitive = {name: value for name, value in variables if isinstance(value, Secret)}
    found = settings(files, scope, state_url, backends)
    checker = _checked(files, scope, catalog)
    tools, outputs = checker.finish(), dict(_outputs(files, scope, checker))
    # A file that could not be read may be the one with the tools: then this would be noise.
    if not report.problems and not {"tools", "apps"} & files.sections.keys():
        report.add(
            files.display_path(source.cwd / source.path),
            "there are no tools and no apps",
            "start from a sample: dtm show config",
        )
    report.check()
    _warn_of_near_references(files, {tool.address.dotted for tool in tools})
    return Config(found, tools, outputs, _digest(tools, outputs), tuple(report.warnings), sensitive)


def _checked(files: Files, scope: Scope, catalog: Catalog) -> ToolChecker:
    """Render and check every tool: those under `tools:`, then those that apps become."""
    checker = ToolChecker(catalog, scope.env, scope.report)
    for section in files.items("tools"):
        # Most files of many tools have no expressions: rendering would copy them for nothing.
        value = scope.render(section.value) if section.text.scanned.expressions else section.value
        checker.add(ToolEntry(value, section.place, simple=section.text.simple))
    for tool in expand(files, scope, checker.names):
        checker.add(ToolEntry(tool.value, tool.place, expanded=True))
    return checker


def _warn_of_near_references(files: Files, tools: Collection[str]) -> None:
    """Warn of expressions that name a tool but are not references: they stay as written."""
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
                    f"{expression.where}: {expression.text} is no reference "
                    f"and stays as it is; {meant}"
                )


def _outputs(files: Files, scope: Scope, checker: ToolChecker) -> Iterator[tuple[str, Value]]:
    for name, section in files.entries("outputs", "output").items():
        value, faults = convert(scope.render(section.value), shapes.AnyType(), (name,), "output")
        for fault in faults:
            scope.report.add(section.place.at(), fault.message, fault.hint)
        for _ in checker.targets(value, value, ToolEntry(value, section.place)):
            pass  # only to find references that lead nowhere
        yield name, value


def _digest(tools: tuple[ToolSpec, ...], outputs: Mapping[str, Value]) -> str:
    """Hash everything that decides about a plan, but not where it stands in which file; hex."""
    # Without `where`: a comment or an empty line in a file must not change the digest.
    parts = [
        (tool.address, tool.options, tool.depends_on, tool.lifecycle, tool.timeouts)
        for tool in tools
    ]
    data = msgspec.json.encode([parts, outputs], order="deterministic")
    digest = hashlib.sha256(data)
    if b'"sources"' in data:  # a field of Secret
        # A plain hash of little but a short secret could be searched for the secret.
        return hashlib.scrypt(
            digest.digest(), salt=b"dtm config", n=2**13, r=8, p=1, dklen=32
        ).hex()
    return digest.hexdigest()
