"""Differences between the state and the options, and between the state and the live resources.

*Drift* is a difference between the recorded and the live resource that was made outside dtm.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from msgspec.structs import replace

from engine.language.references import secret_sources
from engine.options.decode import canonicalize
from engine.options.fields import replace_paths
from engine.plan import Action, Change, ChangeSource, FieldChange, Reason
from engine.planning.diff import diff
from engine.plugins.recall import SecretRecall
from engine.secrets.marking import mark_like
from engine.state import Resource, StateEntry
from engine.values import HIDDEN, Attributes, Digest, Value, find_leaves, is_equal, is_equal_map


def detect_drift(entry: StateEntry, live: Resource | None, memory: SecretRecall) -> Change:
    """Compare a recorded tool with its live resource, independently of the config.

    Only drift counts. A difference that follows from the tool's inputs, or from a secret that was
    renewed at its source, is not drift. An interrupted tool has no drift: its record is incomplete.
    """
    if entry.pending:
        return keep_change(entry, live)
    if live is None:
        return Change(
            entry.address, Action.CREATE, Reason.VANISHED, entry.resource, after=entry.options
        )
    # A secret that was renewed at its source also changes the texts that contain it.
    renewed = option_changes(entry, memory.recall_available(entry), memory)
    fields = tuple(
        field
        for field in live_changes(entry, live, memory, renewed)
        if field.source is ChangeSource.LIVE
    )
    change = keep_change(entry, live)
    if not fields:
        return change
    return replace(change, action=Action.UPDATE, reason=Reason.DRIFTED, fields=fields)


def keep_change(entry: StateEntry, live: Resource | None = None) -> Change:
    """Return the change that keeps a recorded tool as it is."""
    return Change(entry.address, Action.KEEP, Reason.UNCHANGED, entry.resource, live, entry.options)


def option_changes(
    entry: StateEntry, options: Attributes, memory: SecretRecall
) -> tuple[FieldChange, ...]:
    """Compare options with the recorded ones. An Unknown value differs from every value.

    A field change has `replaces` if its option is declared with `Field(replace=True)`.
    """
    # Checked first, because most options are equal and sealing a secret is slow.
    if is_equal_map(entry.options, options):
        return ()
    # The state holds digests, so the secrets of the config are compared by their digests.
    sealed = memory.sealer.seal_map(options, entry.address)
    struct = memory.operations.options_struct(entry.address)
    marks = replace_paths(struct)
    found = diff(entry.options, sealed, replaces=marks)
    if not found:
        return found
    # Another version, or DevStream, may have recorded keys in another spelling, or secrets in plain
    # text. The comparison is repeated with the record in today's form.
    spelled = canonicalize(entry.options, struct)
    recorded = memory.sealer.seal_map(mark_like(spelled, options), entry.address)
    return found if recorded == entry.options else diff(recorded, sealed, replaces=marks)


def live_changes(
    entry: StateEntry,
    live: Resource,
    memory: SecretRecall,
    changed: Sequence[FieldChange] = (),
) -> tuple[FieldChange, ...]:
    """Compare the live resource with the recorded one.

    A difference has `ChangeSource.INPUT` if the attribute depends only on the tool's inputs. An
    output that repeats the difference of an attribute is left out. A changed secret is left out
    too if it may come from one of the `changed` options: only its digest is recorded, so it is not
    known whether the option or another program changed it.
    """
    recorded, operations = entry.resource, memory.operations
    if recorded is None or live is recorded or equal_resources(recorded, live):
        return ()

    def sealed(resource: Resource) -> Resource:
        # The two sides were marked at different times, with different known secrets. Both are
        # marked again, or a secret that became known in between would be a difference.
        marked = operations.redactor.mark_resource(resource)
        return memory.sealer.seal_resource(marked, entry.address)

    recorded, now = sealed(recorded), sealed(live)
    attributes = list(
        _attribute_changes(recorded, now, operations.derived_attributes(entry.address))
    )
    fields = [*attributes, *_output_changes(recorded, now, attributes)]
    return tuple(field for field in fields if not _has_known_cause(field, changed))


def _attribute_changes(
    recorded: Resource, now: Resource, derived: Collection[str]
) -> Iterator[FieldChange]:
    # A recorded ID with a redacted secret cannot be compared with the live one.
    found = recorded.id if HIDDEN in recorded.id else now.id
    for field in diff(
        {"id": recorded.id, **recorded.attributes},
        {"id": found, **now.attributes},
        source=ChangeSource.LIVE,
    ):
        yield replace(field, source=ChangeSource.INPUT) if field.path[0] in derived else field


def _output_changes(
    recorded: Resource, now: Resource, attributes: Sequence[FieldChange]
) -> Iterator[FieldChange]:
    # Outputs often repeat attributes. Shown twice, one difference would look like two.
    shown = {field.path: field for field in attributes}
    for field in diff(recorded.outputs, now.outputs, source=ChangeSource.LIVE):
        if not (field.path in shown and _repeats_attribute(shown[field.path], field)):
            yield replace(field, path=("outputs", *field.path))


def _repeats_attribute(attribute: FieldChange, output: FieldChange) -> bool:
    """Check whether an output repeats its attribute. Two digests count as equal.

    The digest of one secret differs from place to place.
    """
    return type(attribute.new) is type(output.new) is Digest or is_equal(attribute.new, output.new)


def _has_known_cause(field: FieldChange, changed: Sequence[FieldChange]) -> bool:
    """Check whether a secret may differ because a secret option has changed."""
    if not (isinstance(field.old, Digest) and isinstance(field.new, Digest)):
        return False
    came = _secret_origins(field.old)
    return any(
        not came.isdisjoint(_secret_origins(change.old) | _secret_origins(change.new))
        for change in changed
    )


def _secret_origins(value: Value) -> set[str]:
    """Collect the sources of the secrets in a value; "" for a secret without a source."""
    return {
        origin
        for digest in find_leaves(value, Digest)
        for source in digest.sources or ("",)
        for origin in secret_sources(source)
    }


def equal_resources(one: Resource, other: Resource) -> bool:
    """Check whether two resources are equal. Secrets are compared by their digests."""
    return (
        one.id == other.id
        and is_equal_map(one.attributes, other.attributes)
        and is_equal_map(one.outputs, other.outputs)
    )
