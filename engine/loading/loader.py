"""Loading: read configuration files, check them and return a Config."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import msgspec
import msgspec.inspect as shapes

from engine.config import Config, StateSettings, ToolSpec
from engine.loading.apps import expand_apps
from engine.loading.files import Files, read_files
from engine.loading.problems import Report
from engine.loading.state_settings import plain_url, read_settings
from engine.loading.tools import ToolChecker, ToolEntry
from engine.loading.variable_sources import bind_variables
from engine.loading.variables import Scope
from engine.options.decode import decode_option
from engine.schema import Catalog
from engine.values import Secret, Value


class ConfigSource(msgspec.Struct, frozen=True):
    """The file or directory to load, and the variables from flags and the environment.

    `variables` come from --var, `var_files` from --var-file. Relative paths start at `cwd`.
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

    `state_url` parses the URL form of `state:`. Without it, the settings have the backend "url" and
    the option `url`. `backends` lists the backends that `state.backend` may name. Without it, the
    options of the backend are not checked.

        config = load(ConfigSource(Path("config.yaml"), env=os.environ), catalog)
    """
    report = Report()
    try:
        config = _load(source, catalog, state_url, backends, report)
    except RecursionError:
        report.add(str(source.path), "the values are nested too deeply")
        config = None
    report.check()
    assert config is not None  # otherwise `report.check` has raised
    return config


def _load(
    source: ConfigSource,
    catalog: Catalog,
    state_url: Callable[[str], StateSettings],
    backends: Catalog | None,
    report: Report,
) -> Config:
    files = read_files(source.path, source.cwd, report)
    bound = bind_variables(files, source.env, source.var_files, source.variables)
    scope = Scope(bound, source.env, report)
    # Every variable is rendered, used or not, so that a mistake in an unused one is reported.
    variables = ((name, scope.value(name)) for name in bound)
    sensitive = {name: value for name, value in variables if isinstance(value, Secret)}
    settings = read_settings(files, scope, state_url, backends)
    checker = _check_tools(files, scope, catalog)
    tools, outputs = checker.finish(), dict(_outputs(files, scope, checker))
    # Only if there is no other problem: the tools may be in a file that could not be read.
    if not report.problems and not {"tools", "apps"} & files.sections.keys():
        report.add(
            files.display_path(source.cwd / source.path),
            "the configuration has no tools and no apps",
            "run dtm show config to print a sample configuration",
        )
    report.check()
    _warn_of_incomplete_references(files, {tool.address.dotted for tool in tools})
    return Config(
        settings, tools, outputs, _digest(tools, outputs), tuple(report.warnings), sensitive
    )


def _check_tools(files: Files, scope: Scope, catalog: Catalog) -> ToolChecker:
    """Render and check every tool: first those under `tools:`, then those that apps expand to."""
    checker = ToolChecker(catalog, scope.env, scope.report)
    for section in files.items("tools"):
        # Without expressions, rendering would only copy the value. Large files rarely have any.
        value = scope.render(section.value) if section.file.scanned.expressions else section.value
        checker.add(ToolEntry(value, section.place, has_no_literals=section.file.has_no_literals))
    for tool in expand_apps(files, scope, checker.names):
        checker.add(ToolEntry(tool.value, tool.place, expanded=True))
    return checker


def _warn_of_incomplete_references(files: Files, tools: Collection[str]) -> None:
    """Warn of `${{ }}` expressions that name a tool but no output: they are kept as text."""
    for expression in files.expressions():
        if (
            not expression.text.startswith("${{")
            or ".outputs." in expression.text
            or expression.is_in_comment
        ):
            continue
        steps = expression.text[3:-2].strip().split(".")
        for number in range(2, len(steps) + 1):
            if (tool := ".".join(steps[:number])) in tools:
                files.report.warn(
                    f"{expression.where}: {expression.text} is not a reference to an output "
                    f"and is kept as text: write ${{{{ {tool}.outputs.KEY }}}}"
                )


def _outputs(files: Files, scope: Scope, checker: ToolChecker) -> Iterator[tuple[str, Value]]:
    """Yield the root outputs, rendered; report references to a missing tool or output."""
    for name, section in files.entries("outputs", "output").items():
        value, faults = decode_option(
            scope.render(section.value), shapes.AnyType(), (name,), "output"
        )
        for fault in faults:
            scope.report.add(section.place.at(), fault.message, fault.hint)
        for _ in checker.targets(value, value, ToolEntry(value, section.place)):
            pass  # Iterating reports the wrong references.
        yield name, value


def _digest(tools: tuple[ToolSpec, ...], outputs: Mapping[str, Value]) -> str:
    """Return a hex hash of everything that a plan depends on."""
    # `where` is left out: a new comment or empty line must not change the hash.
    parts = [
        (tool.address, tool.options, tool.depends_on, tool.lifecycle, tool.timeouts)
        for tool in tools
    ]
    data = msgspec.json.encode([parts, outputs], order="deterministic")
    digest = hashlib.sha256(data)
    if b'"sources"' in data:  # a field of Secret
        # The hash is recorded in the commit log. If it were fast to compute, a reader of the log
        # could find a short secret by trying all values.
        return hashlib.scrypt(
            digest.digest(), salt=b"dtm config", n=2**13, r=8, p=1, dklen=32
        ).hex()
    return digest.hexdigest()
