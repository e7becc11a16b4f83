"""What is live: one `read` per tool, in parallel. The only reader of the world besides the executor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from threading import Condition, Thread

import msgspec

from engine.address import Address
from engine.config import Config, ToolSpec
from engine.errors import DtmError, ProviderError
from engine.language.references import resolve
from engine.planning.decisions import Remedy, Resolution
from engine.planning.drift import alike, option_changes
from engine.planning.identities import renamed
from engine.planning.planner import Live
from engine.plugins.calls import Operations, sealer_of
from engine.plugins.recall import Recollection
from engine.ports import Call
from engine.secrets.sealing import Sealer
from engine.state import Resource, State, StateEntry
from engine.values import (
    UNKNOWN,
    Attributes,
    Deferred,
    Digest,
    Unknown,
    Value,
    holds_unknown,
    is_plain,
    leaves,
)

PARALLELISM = 10
READ_TIMEOUT = 300.0
"""Seconds that a read may take where the config says nothing."""

GRACE = 5.0
"""Seconds that a call may overrun its deadline before it is given up."""

POLL = 0.2
"""Seconds between two looks for such calls."""


class Reading(msgspec.Struct, frozen=True):
    """One read to be made. `resource` is None where the thing is looked up by its identity.

    `recorded` are the recorded options where the config has others by now: what they show is read, too, if it differs.
    """

    address: Address
    options: Attributes
    resource: Resource | None
    timeout: float = READ_TIMEOUT
    recorded: Attributes | None = None


def read(
    config: Config,
    state: State,
    operations: Operations,
    *,
    parallelism: int = PARALLELISM,
    resolutions: Mapping[Address, Resolution] | None = None,
    new: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> Live:
    """Read every recorded tool once, and (`new`) every new one whose identity is known already.

    One whose options were changed and that looks otherwise now is read again, as it was recorded: else what the new options
    make of it would be taken for somebody else's doing.
    Raises nothing: failures are in the result, all of them. Calls that overrun their deadline are given up.
    """
    failed: dict[Address, DtmError] = {}
    readings = list(_readings(config, state, operations, resolutions or {}, failed, new=new))
    readers = _Readers(readings, state, operations, clock)
    readers.run(min(parallelism, len(readings)))
    return Live(
        readers.found, failed | readers.failed, len(readings) + len(readers.before), readers.before
    )


def _readings(
    config: Config,
    state: State,
    operations: Operations,
    resolutions: Mapping[Address, Resolution],
    failed: dict[Address, DtmError],
    *,
    new: bool,
) -> Iterator[Reading]:
    """What to read, and with which options: the config's, or the recorded ones where those are not known yet."""
    moves = renamed(config, state, operations)
    wanted = {moves.get(spec.address, spec.address): spec for spec in config.tools}
    for address, entry in state.entries.items():
        try:
            reading = _recorded(
                entry, wanted.get(address), state, operations, resolutions.get(address)
            )
        except DtmError as error:
            failed[address] = error
            continue
        if reading is not None:
            yield reading
    for spec in config.tools if new else ():
        if spec.address not in state.entries and spec.address not in moves:
            yield from _joined(spec, state, operations, failed)


def _recorded(
    entry: StateEntry,
    spec: ToolSpec | None,
    state: State,
    operations: Operations,
    resolution: Resolution | None,
) -> Reading | None:
    """How to read a recorded tool; None if nothing is recorded that could be looked up."""
    resource = entry.resource
    if resource is None:
        if entry.pending and resolution and resolution.remedy is Remedy.ADOPT:
            resource = Resource(resolution.id)
        elif operations.identity(entry.address, entry.options) is None:
            return None
    options, before = _options(
        entry, _config_options(spec, state) if spec else UNKNOWN, operations, sealer_of(state)
    )
    timeout = spec.timeouts.read if spec and spec.timeouts.read is not None else READ_TIMEOUT
    return Reading(entry.address, operations.known(options), resource, timeout, before)


def _options(
    entry: StateEntry, wanted: Attributes | Unknown, operations: Operations, sealer: Sealer
) -> tuple[Attributes, Attributes | None]:
    """What to read a recorded tool with: the config's options, unless these mean another thing than the recorded ones.

    The recorded ones come second where they differ from those, and there is something recorded to compare with.
    """
    memory = Recollection(operations, sealer)
    if isinstance(wanted, Unknown):
        return memory.recalled_if_possible(entry), None
    if wanted == entry.options:
        return wanted, None
    recorded = memory.recalled_if_possible(entry, wanted)
    if operations.identity(entry.address, wanted) != operations.identity(entry.address, recorded):
        return recorded, None
    comparable = entry.resource is not None and entry.pending is None
    return wanted, recorded if comparable and _changed(entry, wanted, operations, sealer) else None


def _changed(entry: StateEntry, wanted: Attributes, operations: Operations, sealer: Sealer) -> bool:
    """Whether the config's options differ from the recorded ones in more than their spelling."""
    try:
        return bool(
            option_changes(entry, operations.decoded(entry.address, wanted), operations, sealer)
        )
    except DtmError:  # they do not fit, which the planner tells
        return False


def _joined(
    spec: ToolSpec, state: State, operations: Operations, failed: dict[Address, DtmError]
) -> Iterator[Reading]:
    """A new tool is looked up too, so that a taken name or a wrong credential shows before anything is made."""
    try:
        options = _config_options(spec, state)
        if isinstance(options, Unknown) or operations.identity(spec.address, options) in (
            None,
            UNKNOWN,
        ):
            return
    except DtmError as error:
        failed[spec.address] = error
        return
    timeout = READ_TIMEOUT if spec.timeouts.read is None else spec.timeouts.read
    yield Reading(spec.address, operations.known(options), None, timeout)


def _config_options(spec: ToolSpec, state: State) -> Attributes | Unknown:
    """The config's options with the outputs as recorded, UNKNOWN if those do not suffice."""
    if is_plain(spec.options) or not any(
        isinstance(leaf, Deferred) for value in spec.options.values() for leaf in leaves(value)
    ):
        return spec.options

    def outputs(address: Address) -> Attributes | Unknown:
        entry = state.entries.get(address)
        return entry.resource.outputs if entry and entry.resource else UNKNOWN

    try:
        options: dict[str, Value] = {
            key: resolve(value, outputs) for key, value in spec.options.items()
        }
    except DtmError:
        return UNKNOWN
    known = not any(
        isinstance(leaf, Digest) or holds_unknown(leaf)
        for value in options.values()
        for leaf in leaves(value)
    )
    return options if known else UNKNOWN


class _Readers:
    """Threads that share one list of readings. A call that is given up loses its slot, and its result is dropped."""

    def __init__(
        self,
        readings: list[Reading],
        state: State,
        operations: Operations,
        clock: Callable[[], float],
    ) -> None:
        self.found: dict[Address, Resource | None] = {}
        self.failed: dict[Address, DtmError] = {}
        self.before: dict[Address, Resource] = {}
        self._left = iter(readings)  # a list's iterator hands each item to exactly one thread
        self._lineage, self._sealer = state.id.lineage, sealer_of(state)
        self._operations, self._clock = operations, clock
        self._running: dict[int, Call] = {}
        self._slots = count()
        self._threads = 0
        self._ended = Condition()
        self._interrupted = False

    def run(self, threads: int) -> None:
        """Return when every reading has a result or an error; a run that is interrupted gives its calls time to end."""
        with self._ended:
            self._start(threads)
            try:
                while self._threads:
                    self._ended.wait(POLL)
                    self._start(self._give_up())
            except KeyboardInterrupt:
                self._interrupted = True
                self._ended.wait_for(lambda: not self._threads, GRACE)
                raise

    def _start(self, threads: int) -> None:
        for _ in range(threads):
            self._threads += 1
            Thread(
                target=self._work, args=(next(self._slots),), name="dtm-read", daemon=True
            ).start()

    def _work(self, slot: int) -> None:
        for reading in self._left:
            if self._interrupted:
                break
            call = Call(
                reading.address,
                self._operations.base_dir,
                self._clock() + reading.timeout,
                lineage=self._lineage,
                cancelled=lambda: self._interrupted,
            )
            self._running[slot] = call
            outcome = self._read(reading, call)
            if self._running.pop(slot, None) is None:
                return
            if isinstance(outcome, DtmError):
                self.failed[reading.address] = outcome
            else:
                self.found[reading.address] = outcome
        with self._ended:
            self._threads -= 1
            self._ended.notify()

    def _read(self, reading: Reading, call: Call) -> Resource | None | DtmError:
        try:
            found = self._operations.read(reading.address, reading.options, reading.resource, call)
        except DtmError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a worker that died without a word would be waited for until the end of time
            return DtmError(
                f"internal error while reading it: {type(error).__name__}: {error}",
                where=str(reading.address),
            )
        if found is not None and reading.resource is not None and found is not reading.resource:
            sealed = found
            if not is_plain(
                found.outputs
            ):  # takes long for a new secret: the planner then has it ready
                sealed = self._sealer.seal_resource(found, reading.address)
            if reading.recorded is not None and not alike(reading.resource, sealed):
                self.before[reading.address] = self._as_recorded(
                    reading, reading.recorded, reading.resource, call
                )
        return found

    def _as_recorded(
        self, reading: Reading, options: Attributes, resource: Resource, call: Call
    ) -> Resource:
        """What the recorded options show; what is recorded, where they show nothing any more: nobody can tell then."""
        try:
            return (
                self._operations.read(
                    reading.address, self._operations.known(options), resource, call
                )
                or resource
            )
        except DtmError:
            return resource

    def _give_up(self) -> int:
        """Take the slots of calls that are long over their deadline; returns how many."""
        late = [
            (slot, call)
            for slot, call in list(self._running.items())
            if self._clock() > call.deadline + GRACE
        ]
        taken = [call for slot, call in late if self._running.pop(slot, None) is not None]
        for call in taken:
            self.failed[call.address] = ProviderError(
                "reading it took too long and was given up",
                hint="raise timeouts.read of this tool",
                where=str(call.address),
            )
        self._threads -= len(taken)
        return len(taken)
