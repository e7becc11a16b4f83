"""The cases of the provider contract for one plugin, shipped or not."""

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
"""Plugin name -> function that prepares its trial; each shipped plugin has one."""


def validate_plugin(name: str, plugins: Plugins, directory: Path) -> Iterator[CaseResult]:
    """Run all cases for a plugin in an empty directory, and yield their results.

    The trial is the plugin's own one, or that of `TRIALS`. A plugin without a trial is tested with
    its sample config; the cases that change the resource outside dtm are then skipped. Raises
    PluginError, UsageError.
    """
    provider = plugins[name]
    yield from run_provider_cases(provider, _trial_of(name, provider, plugins), directory)


def _trial_of(name: str, provider: AnyProvider, plugins: Plugins) -> MakeTrial:
    if isinstance(provider, HasTrial):
        return provider.trial
    return TRIALS.get(name) or (lambda folder: _sample_trial(name, plugins, folder))


def _sample_trial(name: str, plugins: Plugins, folder: Path) -> Trial:
    """Return a trial with the sample config, after creating the tools that it refers to."""
    path = folder / "config.yaml"
    path.write_text(plugin_sample(name, plugins), "utf-8")
    *before, tool = load(ConfigSource(path, cwd=folder), plugins).tools
    outputs: dict[Address, Attributes] = {}

    def options_of(spec: ToolSpec) -> Any:
        known = {key: resolve(value, outputs.get) for key, value in spec.options.items()}
        return build(known, plugins[spec.address.name].options)

    for spec in before:
        plugin = spec.address.name
        outputs[spec.address] = (
            plugins[plugin].create(options_of(spec), trial_call(plugin, folder)).outputs
        )
    return Trial(options=options_of(tool), call=trial_call(name, folder))
