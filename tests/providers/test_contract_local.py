"""Each plugin for this machine keeps every promise that can be made of it."""

from pathlib import Path

import pytest

from dtm.plugins import installed
from dtm.testing.provider import provider_contract
from dtm.testing.trials import TRIALS

UNTRIED = {
    "command": {"what others made is refused"},  # what create does with it is the user's program's affair
    "data": {
        "nothing is found before it is made",
        "drift of each attribute is found and repaired",
        "what vanished is read as gone and made again",
        "what a crash left is found again",
        "what others made is refused",
    },  # nobody else can reach it
}


@pytest.mark.parametrize("plugin", sorted(TRIALS))
def test_every_promise_is_kept(plugin: str, tmp_path: Path) -> None:
    found = provider_contract(installed()[plugin], TRIALS[plugin], tmp_path)
    assert {verdict.promise for verdict in found if verdict.untried} == UNTRIED.get(plugin, set())
