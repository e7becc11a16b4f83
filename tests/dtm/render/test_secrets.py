from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtm.render.renderers import Kind
from engine.errors import ConfigError, DtmError, Problem
from engine.events import (
    ApplyComplete,
    ApplyErrored,
    ApplyProgress,
    ApplyStart,
    ApplySummary,
    Event,
    Notice,
    Retrying,
)
from engine.plan import Action, Change, FieldChange, OutputChange, Plan, Reason
from engine.secrets.redaction import Redactor
from engine.state import Resource
from engine.values import Digest, Secret, Value
from fixtures.plans.examples import BASE
from tests.dtm.render.rendering import DATA, WEB, Shown

KINDS: tuple[Kind, ...] = ("rich", "plain", "json")
SECRET = "hunter2-swordfish"
PEM = "-----BEGIN KEY-----\nMIIEvQ\n-----END KEY-----\n"

values = st.recursive(
    st.sampled_from(
        [SECRET, f"Bearer {SECRET}!", f"first\n{SECRET}\nlast\n", PEM, f"key: |\n{PEM}", 7, None]
    )
    | st.builds(Secret, st.just(SECRET))
    | st.builds(Digest, st.just("ab" * 32)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", SECRET, "b c"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def redactor() -> Redactor:
    found = Redactor()
    found.add(Secret(SECRET))
    found.add(Secret(PEM))
    return found


@pytest.mark.parametrize("kind", KINDS)
@given(old=values, new=values)
def test_no_secret_is_shown_in_a_plan(kind: Kind, old: Value, new: Value) -> None:
    shown = Shown(kind, clean=redactor().redact, width=40, verbose=True)
    fields = (
        FieldChange(("a", SECRET, 0), old, new),
        FieldChange(("b",), None, new, old_absent=True),
        FieldChange(("c",), old, None, new_absent=True),
    )
    plan = Plan(
        BASE,
        "",
        (
            Change(DATA, Action.UPDATE, Reason.CHANGED, fields=fields, note=f"see {SECRET}"),
            Change(WEB, Action.CREATE, Reason.NEW, after={"x": new, SECRET: old}),
            Change(WEB, Action.DELETE, Reason.REMOVED, Resource(SECRET)),
        ),
        {SECRET: new},
        (OutputChange(SECRET, old, new),),
        in_progress=SECRET,
    )
    shown.renderer.plan(plan)
    shown.renderer.outputs({"o": old, SECRET: new})
    shown.renderer.document({"o": old, "n": new}, title=SECRET)
    shown.renderer.table([{"o": old, "n": new}])
    shown.renderer.data(f"text {SECRET}", None)
    assert SECRET not in shown.out and "MIIEvQ" not in shown.out


@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_is_shown_in_events_or_errors(kind: Kind) -> None:
    shown = Shown(kind, clean=redactor().redact, verbose=True)
    events: list[Event] = [
        ApplyStart(DATA, Action.CREATE, 1, 1),
        ApplyProgress(DATA, Action.CREATE, f"login with {SECRET}", None, 20.0),
        Retrying(DATA, Action.CREATE, 1, 1.0, f"401 for {SECRET}"),
        ApplyErrored(DATA, Action.CREATE, f"denied: {PEM}", f"not {SECRET}", 1.0),
        ApplyComplete(WEB, Action.CREATE, SECRET, 1.0),
        Notice("warning", SECRET, SECRET, SECRET),
        ApplySummary({}, (DATA,), (), 1.0, f"s3://{SECRET}/k"),
    ]
    for event in events:
        shown.renderer.event(event)
    try:
        raise DtmError(f"no {SECRET}", hint=SECRET, where=SECRET)
    except DtmError as error:
        shown.renderer.error(error, debug=True)
    shown.renderer.error(ConfigError((Problem(f"{SECRET}:1:1", SECRET, SECRET),)))
    shown.renderer.error(ValueError(SECRET), debug=True)
    everything = shown.out + shown.err
    assert "(sensitive)" in everything
    assert SECRET not in everything and "MIIEvQ" not in everything


def test_secret_equal_to_a_format_word_keeps_the_format() -> None:
    found = Redactor()
    found.add(Secret("create"))
    found.add(Secret("message"))
    shown = Shown("json", clean=found.redact)
    shown.renderer.event(ApplyStart(DATA, Action.CREATE, 1, 1))
    assert (
        '"type":"apply_start"' in shown.out
        and '"action":"create"' in shown.out
        and '"message":' in shown.out
    )
