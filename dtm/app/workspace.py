"""The material of a command: the config, the plugins and the place of the state."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from backends.url import parse as parse_url
from dtm.app import place as places
from dtm.app.invocation import Invocation
from dtm.app.place import Place
from engine.config import Config
from engine.errors import ConfigError, Problem
from engine.events import Notice
from engine.loading.loader import ConfigSource, load
from engine.ports import AnyProvider, Emit
from engine.secrets.redaction import Redactor
from engine.values import Secret, leaves

DEFAULT_CONFIG = "config.yaml"


class Workspace(msgspec.Struct, frozen=True):
    """Config, plugins and state, found and opened, and the ways out of a use case.

    `config` is None where a command needs none and there is none. `emit` takes what happens, and
    `redactor` the secrets that no text may show.
    """

    request: Invocation
    config: Config | None
    providers: Mapping[str, AnyProvider]
    place: Place
    emit: Emit
    redactor: Redactor

    @property
    def base_dir(self) -> Path:
        """The directory that paths in options are relative to."""
        return self.config.settings.base_dir if self.config else self.request.cwd

    @property
    def required_config(self) -> Config:
        """The config of a command that cannot do without."""
        assert self.config is not None  # open_workspace saw to it
        return self.config


def load_config(request: Invocation) -> Config:
    """Load the config.

    Raises ConfigError with every problem, or with the one that there is no file.
    """
    from dtm.plugins import backends, installed

    path = request.config_file or request.cwd / DEFAULT_CONFIG
    if not path.exists():
        message = f"there is no config file {path.name if request.config_file is None else path}"
        raise ConfigError(
            (
                Problem(
                    "",
                    message,
                    "name one with -f, or start from a sample: dtm show config > config.yaml",
                ),
            )
        )
    source = ConfigSource(path, request.variables, request.var_files, request.env, request.cwd)
    return load(source, installed(), state_url=parse_url, backends=backends())


def load_checked_config(request: Invocation) -> Config:
    """Load the config and check the identities of its tools.

    Raises ConfigError with every problem.
    """
    from dtm.app import identities
    from dtm.plugins import installed

    config = load_config(request)
    identities.check_identities(config, installed())
    return config


def open_workspace(
    request: Invocation, emit: Emit, redactor: Redactor, *, need_config: bool = True
) -> Workspace:
    """Find everything; `redactor` learns the config's secrets.

    Without `need_config` a config is read only where it stands and decides about the state. Raises
    ConfigError, UsageError, PluginError and store errors.
    """
    from dtm.app import identities
    from dtm.plugins import installed

    config = None
    if need_config or _is_config_needed(request):
        config = load_config(request)
        for warning in config.warnings:
            emit(Notice("warning", warning))
    elif (
        request.cwd / DEFAULT_CONFIG
    ).exists():  # it does not decide: a broken one must not stand in the way
        with suppress(ConfigError):
            config = load_config(request)
    if config:
        # Before anything else can be printed: the redactor hides only what it knows.
        _hide_secrets(config, redactor)
    _warn_of_plugin_files(config.settings.plugin_dir if config else None, emit)
    settings, overridden = places.choose_settings(
        request.state_url, request.env, config, request.cwd
    )
    if overridden:
        emit(Notice("warning", overridden))
    base = config.settings.base_dir if config and settings.source == "config" else request.cwd
    place = places.open_place(settings, base, request.env)
    if config and need_config:
        identities.check_identities(config, installed(), place)
    return Workspace(request, config, installed(), place, emit, redactor)


def _warn_of_plugin_files(directory: Path | None, emit: Emit) -> None:
    """Name the files in the config's plugin directory.

    They may come with a foreign repository and are never imported.
    """
    if (
        directory
        and directory.is_dir()
        and (names := sorted(path.name for path in directory.iterdir()))
    ):
        hint = "plugins are Python packages: install them beside dtm with pip, pipx inject or uv"
        emit(
            Notice(
                "warning",
                f"nothing in the plugin directory {directory} is loaded: {', '.join(names[:5])}",
                hint,
            )
        )


def _hide_secrets(config: Config, redactor: Redactor) -> None:
    for tool in config.tools:
        for option in tool.options.values():
            for leaf in leaves(option):
                if isinstance(leaf, Secret):
                    redactor.add(leaf)


def _is_config_needed(request: Invocation) -> bool:
    """Tell whether a config decides where the state is.

    It does where it was named, or where it is the default one and nothing else was named.
    """
    if request.config_file:
        return True
    named = request.state_url or request.env.get("DTM_STATE")
    return not named and (request.cwd / DEFAULT_CONFIG).exists()
