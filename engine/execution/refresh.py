"""Refresh: read what is live, several tools in parallel.

Besides the executor this is the only part of dtm that calls live systems.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from threading import Condition, Thread

import msgspec

from engine.address import Address
from engine.config import Config, ToolSpec
from engine.errors import DtmError, ProviderError
from engine.execution.run_settings import GRACE, POLL, RunSettings
from engine.language.references import resolve
from engine.planning.decisions import ResolutionKind, Resolutions
from engine.planning.drift import equal_resources, option_changes
from engine.planning.identities import find_moves
from engine.planning.planner import LiveResources
from engine.plugins.calls import Operations
from engine.plugins.recall import SecretRecall
from engine.ports import Call
from engine.state import Resource, State, StateEntry
from engine.values import (
    UNKNOWN,
    Attributes,
    Deferred,
    Digest,
    Unknown,
    Value,
    find_leaves,
    is_plain,
)

READ_TIMEOUT = 300.0
"""Seconds that a read may take by default."""


class ReadRequest(msgspec.Struct, frozen=True):
    """One read to be made.

    `resource` is the recorded one, None to look the tool up by its identity. `timeout` is in
    seconds. `recorded` are the recorded options if the config has others, else None. They are for a
    second read, in case the first one returns a resource that differs from the recorded one.
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
    resolutions: Resolutions | None = None,
    new: bool = True,
    settings: RunSettings | None = None,
) -> LiveResources:
    """Read every recorded tool, and (`new`) every new one whose identity is known already.

    Raises nothing: all failures are in the result. Calls that exceed their deadline are given up.
    """
    settings = settings or RunSettings()
    requests = _RequestCollector(state, operations, resolutions or {})
    requests.collect(config, new=new)
    readers = _ReaderPool(
        requests.found, _ResourceReader(state, operations), settings.environment.clock
    )
    readers.run(min(settings.parallelism, len(requests.found)))
    return LiveResources(readers.found, requests.failed | readers.failed, readers.before)


class _RequestCollector:
    """The collector of reads: `found` are those to make, `failed` the errors that prevent one."""

    def __init__(self, state: State, operations: Operations, resolutions: Resolutions) -> None:
        self.found: list[ReadRequest] = []
        self.failed: dict[Address, DtmError] = {}
        self._state, self._operations, self._resolutions = state, operations, resolutions
        self._memory = SecretRecall.of(operations, state)

    def collect(self, config: Config, *, new: bool) -> None:
        """Add a read for every recorded tool, and (`new`) for every new one that can be looked up.

        Renamed tools are read under their old name. Looking up new ones shows, before anything is
        created, that a name is taken or a credential is wrong.
        """
        moves = find_moves(config, self._state, self._operations)
        wanted = {moves.get(spec.address, spec.address): spec for spec in config.tools}
        for address, entry in self._state.entries.items():
            self._add(address, partial(self._entry_request, entry, wanted.get(address)))
        for spec in config.tools if new else ():
            if spec.address not in self._state.entries and spec.address not in moves:
                self._add(spec.address, partial(self._new_request, spec))

    def _add(self, address: Address, make: Callable[[], ReadRequest | None]) -> None:
        try:
            request = make()
        except DtmError as error:
            self.failed[address] = error
            return
        if request is not None:
            self.found.append(request)

    def _entry_request(self, entry: StateEntry, spec: ToolSpec | None) -> ReadRequest | None:
        """Return the read of a recorded tool, None if it has neither a resource nor an identity."""
        resource, resolution = entry.resource, self._resolutions.get(entry.address)
        if resource is None:
            if entry.pending and resolution and resolution.kind is ResolutionKind.ADOPT:
                # A create was lost, and the user named the ID: read it like a recorded resource.
                resource = Resource(resolution.id)
            elif self._operations.identity(entry.address, entry.options) is None:
                return None
        options, before = self._options(entry, self._resolved_options(spec) if spec else UNKNOWN)
        known = self._operations.learn_secrets(options)
        return ReadRequest(entry.address, known, resource, _timeout(spec), before)

    def _new_request(self, spec: ToolSpec) -> ReadRequest | None:
        options = self._resolved_options(spec)
        if isinstance(options, Unknown):
            return None
        # The tool has no identity, or an unknown one. If it is unknown, the executor looks the tool
        # up before the create, see `Job.lookup_only`.
        if self._operations.identity(spec.address, options) in (None, UNKNOWN):
            return None
        return ReadRequest(
            spec.address, self._operations.learn_secrets(options), None, _timeout(spec)
        )

    def _options(
        self, entry: StateEntry, wanted: Attributes | Unknown
    ) -> tuple[Attributes, Attributes | None]:
        """Return the options to read a recorded tool with, and those for a second read or None.

        The first read uses the options of the config, unless they identify another resource than
        the recorded options do. The second read uses the recorded options. It is needed if they
        differ from those of the config and there is a recorded resource to compare with.
        """
        memory = self._memory
        if isinstance(wanted, Unknown):
            return memory.recall_available(entry), None
        # The usual case first: it needs no secrets and no Structs.
        if wanted == entry.options:
            return wanted, None
        recorded = memory.recall_available(entry, wanted)
        identity = partial(self._operations.identity, entry.address)
        # The new options identify another resource. A read with them would not find the recorded
        # one, which would seem to be gone, and nothing would ever delete it.
        if identity(wanted) != identity(recorded):
            return recorded, None
        comparable = entry.resource is not None and entry.pending is None
        return wanted, recorded if comparable and self._changed(entry, wanted) else None

    def _changed(self, entry: StateEntry, wanted: Attributes) -> bool:
        """Return whether the options of the config differ in meaning from the recorded ones."""
        try:
            decoded = self._operations.decode_options(entry.address, wanted)
            return bool(option_changes(entry, decoded, self._memory))
        except DtmError:  # invalid options: the planner reports them
            return False

    def _resolved_options(self, spec: ToolSpec) -> Attributes | Unknown:
        """Return the options of the config with recorded outputs, UNKNOWN if one is missing."""
        if not find_leaves(spec.options, Deferred):
            return spec.options
        try:
            options: dict[str, Value] = {
                key: resolve(value, self._outputs) for key, value in spec.options.items()
            }
        except DtmError:
            return UNKNOWN
        # A digest counts as missing too: a provider cannot read with it.
        return UNKNOWN if find_leaves(options, Unknown, Digest, Deferred) else options

    def _outputs(self, address: Address) -> Attributes | Unknown:
        entry = self._state.entries.get(address)
        return entry.resource.outputs if entry and entry.resource else UNKNOWN


def _timeout(spec: ToolSpec | None) -> float:
    return READ_TIMEOUT if spec is None or spec.timeouts.read is None else spec.timeouts.read


class _ReadResult(msgspec.Struct, frozen=True):
    """The live resource; `before` is the one read by the recorded options, if that was done."""

    found: Resource | None
    before: Resource | None = None


class _ResourceReader:
    """The reader of single tools. Safe to use from several threads."""

    def __init__(self, state: State, operations: Operations) -> None:
        self._operations = operations
        self._sealer = SecretRecall.of(operations, state).sealer
        self._lineage = state.id.lineage

    def call(self, request: ReadRequest, deadline: float, cancelled: Callable[[], bool]) -> Call:
        """Return the context of a call for the provider."""
        return Call(
            request.address,
            self._operations.base_dir,
            deadline,
            lineage=self._lineage,
            cancelled=cancelled,
        )

    def read(self, request: ReadRequest, call: Call) -> _ReadResult:
        """Read a tool, and again by its recorded options if it differs. Raises DtmError."""
        recorded = request.resource
        found = self._operations.read(request.address, request.options, recorded, call)
        if found is None or recorded is None or found is recorded:
            return _ReadResult(found)
        sealed = found
        if not is_plain(found.outputs):
            # Sealing a new secret takes long. Its digest is cached here, in a worker, so that the
            # planner does not have to wait for it.
            sealed = self._sealer.seal_resource(found, request.address)
        if request.recorded is None or equal_resources(recorded, sealed):
            return _ReadResult(found)
        # Without a second read the effect of the new options would look like a change that was
        # made outside dtm.
        return _ReadResult(found, self._read_by_recorded_options(request.recorded, recorded, call))

    def _read_by_recorded_options(
        self, options: Attributes, resource: Resource, call: Call
    ) -> Resource:
        """Read by the recorded options; return the recorded resource if that shows nothing."""
        known = self._operations.learn_secrets(options)
        try:
            return self._operations.read(call.address, known, resource, call) or resource
        except DtmError:
            return resource


class _ReaderPool:
    """Threads that share a list of requests.

    Each thread has a slot number. If its call is given up, a new thread with a new slot takes its
    place, and a late result is ignored.
    """

    def __init__(
        self, requests: list[ReadRequest], reader: _ResourceReader, clock: Callable[[], float]
    ) -> None:
        self.found: dict[Address, Resource | None] = {}
        self.failed: dict[Address, DtmError] = {}
        self.before: dict[Address, Resource] = {}
        self._left = iter(requests)  # a list's iterator hands each item to exactly one thread
        self._reader, self._clock = reader, clock
        # The thread that pops a slot decides its outcome. `dict.pop` is atomic, so a call that ends
        # while it is given up is counted once.
        self._running: dict[int, Call] = {}
        # Slots are never reused: a late thread must not pop the slot of a newer call.
        self._slots = count()
        self._threads = 0
        self._ended = Condition()
        self._interrupted = False

    def run(self, threads: int) -> None:
        """Return when every request has a result or an error.

        Raises KeyboardInterrupt if interrupted, after giving running calls `GRACE` seconds to end.
        """
        with self._ended:
            self._start(threads)
            try:
                while self._threads:
                    # With a timeout, since a call that hangs never notifies.
                    self._ended.wait(POLL)
                    self._start(self._give_up_late())
            except KeyboardInterrupt:
                self._interrupted = True
                # Calls see `cancelled` and end the programs that they have started. Without this
                # time the programs would go on running after dtm has ended.
                self._ended.wait_for(lambda: not self._threads, GRACE)
                raise

    def _start(self, threads: int) -> None:
        for _ in range(threads):
            self._threads += 1
            Thread(
                target=self._work, args=(next(self._slots),), name="dtm-read", daemon=True
            ).start()

    def _work(self, slot: int) -> None:
        for request in self._left:
            if self._interrupted:
                break
            deadline = self._clock() + request.timeout
            call = self._reader.call(request, deadline, lambda: self._interrupted)
            self._running[slot] = call
            result = self._read(request, call)
            # This call was given up, and a new thread counts in place of this one in `_threads`.
            if self._running.pop(slot, None) is None:
                return
            self._store_result(request.address, result)
        with self._ended:
            self._threads -= 1
            self._ended.notify()

    def _read(self, request: ReadRequest, call: Call) -> _ReadResult | DtmError:
        try:
            return self._reader.read(request, call)
        except DtmError as error:
            return error
        except Exception as error:  # noqa: BLE001 - the run would wait for a dead thread
            return DtmError(
                f"internal error while reading the resource: {type(error).__name__}: {error}",
                where=str(request.address),
            )

    def _store_result(self, address: Address, result: _ReadResult | DtmError) -> None:
        if isinstance(result, DtmError):
            self.failed[address] = result
            return
        self.found[address] = result.found
        if result.before is not None:
            self.before[address] = result.before

    def _give_up_late(self) -> int:
        """Give up calls that are `GRACE` seconds past their deadline; return how many."""
        late = [
            (slot, call)
            # A copy: threads change the dict during the iteration.
            for slot, call in list(self._running.items())
            if self._clock() > call.deadline + GRACE
        ]
        # A call may end just now: it is given up only if this thread gets its slot.
        taken = [call for slot, call in late if self._running.pop(slot, None) is not None]
        for call in taken:
            self.failed[call.address] = ProviderError(
                "reading the resource took too long and was given up",
                hint="raise timeouts.read of this tool",
                where=str(call.address),
            )
        self._threads -= len(taken)
        return len(taken)
