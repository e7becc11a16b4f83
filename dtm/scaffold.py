"""For plugin authors: a package to start from, and every promise of a plugin tried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any, Final

from dtm import __version__
from dtm.describe import SAMPLES, sample
from dtm.plugins import BUILT_IN, Plugins
from dtm.testing.provider import MakeTrial, Trial, Trying, Verdict, trial_call, verdicts
from dtm.testing.trials import TRIALS
from engine.address import Address, name_problem
from engine.config import ToolSpec
from engine.errors import UsageError
from engine.language.references import resolve
from engine.loading.loader import ConfigSource, load
from engine.options.decode import build
from engine.ports import AnyProvider
from engine.values import Attributes

TEMPLATE: Final = SAMPLES / "plugin"


def create_plugin(name: str, directory: Path) -> list[Path]:
    """Write the package `dtm-plugin-NAME` into a directory of that name; returns its files. Raises UsageError."""
    if not name:
        raise UsageError('the name must be not "", you can specify it by --name flag')
    if problem := name_problem(name):
        raise UsageError(problem)
    if name in BUILT_IN:
        raise UsageError(
            f"plugin {name} is built in",
            hint="take another name: what is built in cannot be replaced",
        )
    root = directory / f"dtm-plugin-{name}"
    if root.exists():
        raise UsageError(f"plugin {name} already exists", hint=f"it is in {root}")
    words = _words(name)
    made = [
        (root / _named(path, words["module"]), path) for path in sorted(TEMPLATE.rglob("*.tmpl"))
    ]
    for target, source in made:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(Template(source.read_text("utf-8")).substitute(words), "utf-8")
    return [target for target, _ in made]


def _words(name: str) -> dict[str, str]:
    return {
        "name": name,
        "distribution": f"dtm-plugin-{name}",
        "module": f"dtm_plugin_{name.replace('-', '_')}",
        "provider": "Plugin" + "".join(word.capitalize() for word in name.split("-")),
        "version": __version__,
    }


def _named(template: Path, module: str) -> Path:
    return Path(
        str(template.relative_to(TEMPLATE)).replace("_module_", module).removesuffix(".tmpl")
    )


def validate_plugin(name: str, plugins: Plugins, directory: Path) -> Iterator[Verdict]:
    """Try every promise of a plugin in an empty directory, and say what became of each. Raises PluginError, UsageError.

    The world is the plugin's own `trial` where it has one, else its sample config: then nothing is changed by other
    means, and the promises about that are untried.
    """
    provider = plugins[name]
    yield from verdicts(provider, _trial_of(name, provider, plugins), directory)


def _trial_of(name: str, provider: AnyProvider, plugins: Plugins) -> MakeTrial:
    if isinstance(provider, Trying):
        return provider.trial
    return TRIALS.get(name) or (lambda world: _sample_trial(name, plugins, world))


def _sample_trial(name: str, plugins: Plugins, world: Path) -> Trial:
    """Load the plugin's sample config, and make what the plugin's own tool refers to."""
    path = world / "config.yaml"
    path.write_text(sample(name, plugins), "utf-8")
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
