"""A plan as styled lines: a legend, each change with its fields, and the counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from dtm.render import sentences
from dtm.render.differences import DRIFT, LIVE, field_lines
from dtm.render.port import Operation
from dtm.render.text import BLANK, Line, Span, Style, grid, line
from dtm.render.values import ValueText, key, printable
from engine.plan import Action, Change, Plan, Reason
from engine.state import Resource


class Look(NamedTuple):
    """How an action is shown: its symbol, its style, and its words in the legend."""

    symbol: str
    style: Style
    words: str


LOOKS: Final = {
    Action.CREATE: Look("+", "create", "create"),
    Action.UPDATE: Look("~", "update", "update in place"),
    Action.REPLACE: Look("-/+", "replace", "replace (delete, then create)"),
    Action.DELETE: Look("-", "delete", "delete"),
    Action.MOVE: Look(">", "move", "rename (state only)"),
    Action.RECOVER: Look("?", "recover", "recover (after an interrupted run)"),
    Action.FORGET: Look(".", "forget", "forget (remove from the state only)"),
    Action.KEEP: Look("=", "keep", "rewrite the entry (state only)"),
}
ALWAYS_COUNTED: Final = (Action.CREATE, Action.UPDATE, Action.REPLACE, Action.DELETE)
COUNTED_IF_ANY: Final = (Action.MOVE, Action.FORGET, Action.RECOVER)
MANY: Final = 10
"""With more changes than this the plan ends with a list of their names."""
SYMBOL_WIDTH: Final = 3
BODY: Final = SYMBOL_WIDTH + 3


class PlanView(msgspec.Struct, frozen=True):
    """Turns a plan into lines of at most `width` cells.

    For the operations drift and verify it describes what was found, not what an apply would do.
    """

    show: ValueText
    width: int
    operation: Operation = "plan"
    nothing: str = ""
    """The sentence of an empty plan; "" chooses the one that fits the plan."""

    def lines(self, plan: Plan) -> Iterator[Line]:
        """Yield the whole plan, its changes in their order."""
        if plan.in_progress:
            yield line(0, Span(self.show.clean(sentences.other_session(plan)), "warning"))
            yield BLANK
        if plan.is_empty:
            yield line(0, Span(self.nothing or sentences.nothing_to_do(plan), "success"))
            return
        shown = [
            change for change in plan.changes if change.action is not Action.KEEP or change.rewrite
        ]
        if shown and self._plans:
            yield _legend(shown)
            yield BLANK
        for change in shown:
            yield from self.change(change)
        yield from self._outputs(plan)
        yield from self._names(plan)
        yield count_line(plan) if self._plans else found_line(plan, self.operation)

    @property
    def _plans(self) -> bool:
        return self.operation == "plan"

    def change(self, change: Change) -> Iterator[Line]:
        """Yield one change: its sentence, its note, its fields, and a blank line."""
        yield _header(change) if self._plans else _found(change)
        for number, each in enumerate(self.show.clean(change.note).splitlines()):
            yield line(BODY + (2 if number else 0), Span(printable(each), "dim"))
        if change.protected and change.action in {Action.DELETE, Action.REPLACE}:
            yield line(BODY, Span("protected by lifecycle.preventDestroy", "warning"))
        yield from self._body(change)
        yield BLANK

    def _body(self, change: Change) -> Iterator[Line]:
        if change.fields:
            # The sentence above has said that the change was made outside dtm.
            drift = LIVE if change.reason is Reason.DRIFTED else DRIFT
            yield from field_lines(change.fields, self.show, BODY, self.width, drift)
        elif (
            change.action is Action.CREATE
            and change.after
            and (self._plans or change.reason is Reason.NEW)
        ):
            yield from self.show.children(change.after, BODY, self.width)
        elif change.action in {Action.DELETE, Action.FORGET, Action.RECOVER} or not self._plans:
            yield from self._identity(change.live or change.before)

    def _identity(self, resource: Resource | None) -> Iterator[Line]:
        if resource and resource.id:
            yield line(BODY, Span("id:", "key"), " ", self.show.span(resource.id))

    def _outputs(self, plan: Plan) -> Iterator[Line]:
        if not plan.output_changes:
            return
        yield line(0, Span("Outputs:", "strong"))
        for each in plan.output_changes:
            name = key(self.show.clean(each.name))
            old = () if each.old is None else (self.show.span(each.old), Span(" → ", "dim"))
            yield line(2, Span(f"{name}:", "key"), " ", *old, self.show.span(each.new))
        yield BLANK

    def _names(self, plan: Plan) -> Iterator[Line]:
        """List the names of a long plan again: its sentences have scrolled off the screen."""
        groups: dict[Action, list[str]] = {}
        for change in plan:
            groups.setdefault(change.action, []).append(str(change.address))
        if sum(map(len, groups.values())) <= MANY:
            return
        for action, look in LOOKS.items():
            if names := groups.get(action):
                yield line(0, Span(f"{look.symbol} {look.words} ({len(names):,})", look.style))
                yield from (line(2, row) for row in grid(names, self.width - 2))
                yield BLANK


def _legend(changes: list[Change]) -> Line:
    used = {change.action for change in changes}
    spans: list[Span | str] = []
    for action, look in LOOKS.items():
        if action in used:
            spans += [
                "   " if spans else "",
                Span(look.symbol, look.style),
                Span(f" {look.words}", "dim"),
            ]
    return line(0, *spans)


def _header(change: Change) -> Line:
    return _named(change, change.action, sentences.planned(change))


def _found(change: Change) -> Line:
    gone = change.reason is Reason.VANISHED
    return _named(change, Action.DELETE if gone else change.action, sentences.found(change))


def _named(change: Change, action: Action, sentence: str) -> Line:
    look = LOOKS[action]
    return line(
        0,
        Span(f"{look.symbol.rjust(SYMBOL_WIDTH)} ", look.style),
        Span(str(change.address), "name"),
        f"  {sentence}",
        hang=SYMBOL_WIDTH + 1,
    )


def found_line(plan: Plan, operation: str) -> Line:
    """`Drift: 1 drifted, 1 vanished, 12 unchanged.`."""
    counts = Counter(
        Reason.UNCHANGED if change.action is Action.KEEP else change.reason
        for change in plan.changes
    )
    spans: list[Span | str] = [Span(f"{operation.capitalize()}: ", "strong")]
    for reason in Reason:
        if reason is not Reason.UNCHANGED and counts[reason]:
            spans += [f"{counts[reason]:,} {sentences.COUNTED.get(reason, reason.value)}", ", "]
    return line(0, *spans, Span(f"{counts[Reason.UNCHANGED]:,} unchanged.", "dim"))


def count_line(plan: Plan) -> Line:
    """`Plan: 1 to create, 2 to update, 0 to replace, 1 to delete, 12 unchanged.`."""
    counts = plan.counts()
    spans: list[Span | str] = [Span("Plan: ", "strong")]
    for action in (*ALWAYS_COUNTED, *COUNTED_IF_ANY):
        number = counts[action]
        if number or action in ALWAYS_COUNTED:
            spans += [
                Span(f"{number} to {action.value}", LOOKS[action].style if number else "dim"),
                ", ",
            ]
    return line(0, *spans, Span(f"{counts[Action.KEEP]} unchanged.", "dim"))
