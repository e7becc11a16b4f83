from __future__ import annotations

import pytest

from dtm.render import Kind
from fixtures.plans.examples import PLANS, WIDTHS
from fixtures.plans.regenerate import KINDS, golden, rendered


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PLANS)
def test_plan_reads_as_recorded(name: str, kind: Kind, width: int) -> None:
    assert rendered(PLANS[name](), kind, width) == golden(name, kind, width).read_text("utf-8")
