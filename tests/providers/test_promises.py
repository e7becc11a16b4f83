"""Every shipped plugin passes the provider contract."""

from pathlib import Path

import pytest

from dtm.plugins import BUILT_IN, installed
from dtm.testing.provider import provider_contract
from dtm.trials.validation import TRIALS

UNTRIED = {
    # The program of the user decides what happens to an existing resource.
    "command": {"a resource that dtm did not create is refused"},
    # No other program can change a value that exists only in the state.
    "data": {
        "read returns nothing before create",
        "drift of each attribute is detected and repaired",
        "a resource deleted outside dtm is created again",
        "a resource left by a crash is found again",
        "a resource that dtm did not create is refused",
    },
}


LONG = {"argocdapp", "ci-generic", "gitlab-ci"}
"""Plugins that use the same code as `github-actions`. Each takes many seconds."""
PLUGINS = [
    pytest.param(name, marks=[pytest.mark.long] if name in LONG else [])
    for name in sorted(TRIALS)
    if installed()[name].plugin == name
]


def test_every_shipped_plugin_has_a_trial(tmp_path: Path) -> None:
    assert TRIALS.keys() == BUILT_IN.keys()
    for name, make_trial in TRIALS.items():
        directory = tmp_path / name
        directory.mkdir()
        trial = make_trial(directory)
        assert isinstance(trial.options, installed()[name].options)
        assert trial.call.address.name == name


@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugin_passes_the_provider_contract(plugin: str, tmp_path: Path) -> None:
    found = provider_contract(installed()[plugin], TRIALS[plugin], tmp_path)
    assert {result.name for result in found if result.skipped} == UNTRIED.get(plugin, set())
