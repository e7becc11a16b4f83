"""Each plugin that ships keeps every promise that can be made of it."""

from pathlib import Path

import pytest

from dtm.plugins import BUILT_IN, installed
from dtm.testing.provider import provider_contract
from dtm.trials.validation import TRIALS

UNTRIED = {
    # What create does with it is the user's program's affair.
    "command": {"what others made is refused"},
    # Nobody else can reach it.
    "data": {
        "nothing is found before it is made",
        "drift of each attribute is found and repaired",
        "what vanished is read as gone and made again",
        "what a crash left is found again",
        "what others made is refused",
    },
}


LONG = {"argocdapp", "ci-generic", "gitlab-ci"}
"""Write into repositories as `github-actions` does, by the same means; each takes many seconds."""
PLUGINS = [
    pytest.param(name, marks=[pytest.mark.long] if name in LONG else [])
    for name in sorted(TRIALS)
    if installed()[name].plugin == name
]


def test_every_plugin_that_ships_has_a_trial_with_its_own_options(tmp_path: Path) -> None:
    assert TRIALS.keys() == BUILT_IN.keys()
    for name, make_trial in TRIALS.items():
        world = tmp_path / name
        world.mkdir()
        trial = make_trial(world)
        assert isinstance(trial.options, installed()[name].options)
        assert trial.call.address.name == name


@pytest.mark.parametrize("plugin", PLUGINS)
def test_every_promise_is_kept(plugin: str, tmp_path: Path) -> None:
    found = provider_contract(installed()[plugin], TRIALS[plugin], tmp_path)
    assert {result.name for result in found if result.skipped} == UNTRIED.get(plugin, set())
