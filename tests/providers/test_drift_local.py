"""A plan names every attribute that has drifted on this machine."""

from pathlib import Path

import msgspec
import pytest

from dtm.plugins import installed
from dtm.trials.local import LOCAL_TRIALS
from engine.config import Config, Settings, ToolSpec
from engine.plan import Action, Change, ChangeSource, Reason
from engine.planning.planner import LiveResources, make_plan
from engine.plugins.calls import Operations
from engine.state import State, StateEntry, StateId

DRIFTS = [
    ("command", "colour"),
    ("command", "extra"),
    ("directory", "mode"),
    ("file", "mode"),
    ("file", "sha256"),
    ("file", "size"),
    ("file", "source"),
]
INPUTS = {("file", "source")}
"""Changed input files. The plan names them, but not as drift."""


def planned(plugin: str, directory: Path, drift: str) -> Change:
    """Return the planned change of a tool that was created and then drifted."""
    provider, trial = installed()[plugin], LOCAL_TRIALS[plugin](directory)
    address, options = trial.call.address, msgspec.to_builtins(trial.options)
    made = provider.create(trial.options, trial.call)
    if drift:
        trial.drifts[drift]()
    live = LiveResources({address: provider.read(trial.options, made, trial.call)})
    state = State(
        StateId("lineage", 1), {address: StateEntry(address, (), options, made)}, salt="00"
    )
    config = Config(Settings(directory), (ToolSpec(address, options),))
    return make_plan(
        config, state, live, Operations(installed(), directory, lambda _: None)
    ).changes[0]


def test_table_lists_every_local_drift(tmp_path: Path) -> None:
    found = []
    for plugin, make_trial in LOCAL_TRIALS.items():
        directory = tmp_path / plugin
        directory.mkdir()
        found += [(plugin, drift) for drift in make_trial(directory).drifts]
    assert sorted(found) == DRIFTS


@pytest.mark.parametrize(("plugin", "attribute"), DRIFTS)
def test_plan_names_the_drifted_attribute(plugin: str, attribute: str, tmp_path: Path) -> None:
    change = planned(plugin, tmp_path, attribute)
    by, reason = (
        (ChangeSource.INPUT, Reason.INPUT)
        if (plugin, attribute) in INPUTS
        else (ChangeSource.LIVE, Reason.DRIFTED)
    )
    assert (change.action, change.reason) == (Action.UPDATE, reason)
    assert (attribute,) in [field.path for field in change.fields if field.source is by]


@pytest.mark.parametrize("plugin", sorted(LOCAL_TRIALS))
def test_plan_after_create_keeps_the_tool(plugin: str, tmp_path: Path) -> None:
    assert planned(plugin, tmp_path, "").action is Action.KEEP
