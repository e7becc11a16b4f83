"""The material of a command: the config, the plugins and the place of the state."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

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
from engine.values import Secret, iter_leaves

if TYPE_CHECKING:
    from dtm.app.debug_log import DebugLog  # heavy

DEFAULT_CONFIG = "config.yaml"


class Workspace(msgspec.Struct, frozen=True):
    """The opened config, plugins and place, and the receivers of events and log lines.

    `config` is None if the command needs no config and none can be loaded. `emit` receives events.
    `redactor` knows the secrets that no text may show.
    """

    request: Invocation
    config: Config | None
    providers: Mapping[str, AnyProvider]
    place: Place
    emit: Emit
    redactor: Redactor
    debug_log: DebugLog | None = None

    @property
    def base_dir(self) -> Path:
        """The directory that paths in options are relative to."""
        return self.config.settings.base_dir if self.config else self.request.cwd

    @property
    def required_config(self) -> Config:
        """The config, for a command that cannot work without one."""
        assert self.config is not None  # open_workspace was called with need_config
        return self.config


def load_config(request: Invocation) -> Config:
    """Load the config. Raises ConfigError with every problem, also if there is no config file."""
    from dtm.plugins import backends, installed

    path = request.config_file or request.cwd / DEFAULT_CONFIG
    if not path.exists():
        message = f"there is no config file {path.name if request.config_file is None else path}"
        raise ConfigError(
            (
                Problem(
                    "",
                    message,
                    "name a config with -f, or start from a sample: dtm show config > config.yaml",
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
    """Load the config, find the plugins and open the place of the state.

    The secrets of the config are added to `redactor`. Without `need_config`, problems of the config
    are ignored unless it decides where the state is. Raises ConfigError, UsageError, PluginError
    and store errors.
    """
    from dtm.app import identities
    from dtm.plugins import installed

    debug_log = _open_debug_log(request, redactor)
    if debug_log:
        emit = debug_log.listen(emit)
    config = _find_config(request, emit, need_config=need_config)
    if config:
        # Before anything else can be printed: the redactor hides only secrets that it knows.
        _hide_secrets(config, redactor)
    _warn_of_plugin_files(config.settings.plugin_dir if config else None, emit)
    settings, overridden = places.choose_settings(
        request.state_url, request.env, config, request.cwd
    )
    if overridden:
        emit(Notice("warning", overridden))
    base = config.settings.base_dir if config and settings.source == "config" else request.cwd
    place = places.open_place(settings, base, request.env, debug_log)
    if debug_log:
        debug_log.start(place.location, settings.source)
    if config and need_config:
        identities.check_identities(config, installed(), place)
    return Workspace(request, config, installed(), place, emit, redactor, debug_log)


def _find_config(request: Invocation, emit: Emit, *, need_config: bool) -> Config | None:
    if need_config or _is_config_needed(request):
        config = load_config(request)
        for warning in config.warnings:
            emit(Notice("warning", warning))
        return config
    # The command uses the secrets and the directory of the config, but a broken config must not
    # prevent a repair.
    if (request.cwd / DEFAULT_CONFIG).exists():
        with suppress(ConfigError):
            return load_config(request)
    return None


def _open_debug_log(request: Invocation, redactor: Redactor) -> DebugLog | None:
    """Open the debug log, None unless `DTM_LOG` is set. Raises UsageError."""
    if not request.env.get("DTM_LOG"):
        return None
    # Imported only here: a run without the log must not pay 15 ms for `logging`.
    from dtm.app.debug_log import open_log

    return open_log(request.env, request.cwd, redactor)


def _warn_of_plugin_files(directory: Path | None, emit: Emit) -> None:
    """Warn of the files in the config's plugin directory: dtm does not load them.

    They may come with a repository of another author, so importing them would run foreign code.
    """
    if (
        directory
        and directory.is_dir()
        and (names := sorted(path.name for path in directory.iterdir()))
    ):
        hint = "install a plugin as a Python package next to dtm, with pip, pipx inject or uv"
        emit(
            Notice(
                "warning",
                f"dtm loads no plugin from the directory {directory}: {', '.join(names[:5])}",
                hint,
            )
        )


def _hide_secrets(config: Config, redactor: Redactor) -> None:
    for tool in config.tools:
        for option in tool.options.values():
            for leaf in iter_leaves(option):
                if isinstance(leaf, Secret):
                    redactor.add(leaf)


def _is_config_needed(request: Invocation) -> bool:
    """Return whether the config decides where the state is.

    It does if the user named the config, or if the default config exists and the user named no
    state.
    """
    if request.config_file:
        return True
    named = request.state_url or request.env.get("DTM_STATE")
    return not named and (request.cwd / DEFAULT_CONFIG).exists()
