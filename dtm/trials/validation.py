"""Every promise of one plugin, tried in its trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from dtm.describe import plugin_sample
from dtm.plugins import Plugins
from dtm.testing.conformance import CaseResult
from dtm.testing.provider import HasTrial, MakeTrial, Trial, run_provider_cases, trial_call
from dtm.trials.git import GIT_TRIALS
from dtm.trials.local import LOCAL_TRIALS
from engine.address import Address
from engine.config import ToolSpec
from engine.language.references import resolve
from engine.loading.loader import ConfigSource, load
from engine.options.decode import build
from engine.ports import AnyProvider
from engine.values import Attributes

TRIALS: Final[Mapping[str, MakeTrial]] = {**LOCAL_TRIALS, **GIT_TRIALS}
"""By plugin name: every plugin that ships has one."""


def validate_plugin(name: str, plugins: Plugins, directory: Path) -> Iterator[CaseResult]:
    """Try every promise of a plugin in an empty directory, and yield the verdicts.

    Raises PluginError, UsageError.

    The world is the plugin's own `trial` where it has one, else its sample config: then nothing is
    changed by other means, and the promises about that are untried.
    """
    provider = plugins[name]
    yield from run_provider_cases(provider, _trial_of(name, provider, plugins), directory)


def _trial_of(name: str, provider: AnyProvider, plugins: Plugins) -> MakeTrial:
    if isinstance(provider, HasTrial):
        return provider.trial
    return TRIALS.get(name) or (lambda world: _sample_trial(name, plugins, world))


def _sample_trial(name: str, plugins: Plugins, world: Path) -> Trial:
    """Load the plugin's sample config, and make what the plugin's own tool refers to."""
    path = world / "config.yaml"
    path.write_text(plugin_sample(name, plugins), "utf-8")
    *before, tool = load(ConfigSource(path, cwd=world), plugins).tools
    outputs: dict[Address, Attributes] = {}

    def options_of(spec: ToolSpec) -> Any:
        known = {key: resolve(value, outputs.get) for key, value in spec.options.items()}
        return build(known, plugins[spec.address.name].options)

    for spec in before:
        plugin = spec.address.name
        outputs[spec.address] = (
            plugins[plugin].create(options_of(spec), trial_call(plugin, world)).outputs
        )
    return Trial(options=options_of(tool), call=trial_call(name, world))
