"""The seams: protocols for stores, lockers, backends and providers, and the values they exchange.

Every call of a Store or Locker is *one try*. Retries, waiting, polling, leases and the question
what became of a request without an answer are handled above, in `engine.session.opening` and
`engine.session.locking`. No SDK exception may cross these protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, TypeVar, runtime_checkable

import msgspec

from engine.address import Address
from engine.events import Event
from engine.lock import LockInfo, LockRecord
from engine.state import Resource
from engine.values import Value

Version: TypeAlias = str
Emit: TypeAlias = Callable[[Event], None]
O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741 - the options Struct of a provider

BY_ADDRESS: Final = "address"
"""The identity of a resource that is found by its tool's address (`data`, a `command` with `read`).

It counts as known, so that nothing needs `--resolve`. It is never compared: two tools with it are
neither a clash nor a move.
"""


class Snapshot(msgspec.Struct, frozen=True):
    """Stored bytes and their version.

    The version is an opaque token: an ETag, generation, resourceVersion or content hash.
    """

    data: bytes
    version: Version


class Store(Protocol):
    """Bytes under keys with compare-and-swap; keys are relative to `location` and use "/".

        version = store.write("devstream.state", b"one", expect=None)  # must not exist yet
        version = store.write("devstream.state", b"two", expect=version)
        store.read("devstream.state")  # Snapshot(b"two", version)
        store.write("devstream.state", b"three", expect="old")  # raises ConflictError

    Calls may come from two threads at once: the lock is renewed while the log is written.
    """

    @property
    def location(self) -> str:
        """The place of the keys, for messages and as a state's `home`: a URL without credentials.

        Never changes and asks no server. Raises nothing.
        """
        ...

    def read(self, key: str) -> Snapshot | None:
        """Read the newest version; None if there is none.

        It shows every write that has returned, also another client's, and never part of one.
        Raises StoreAccessError, StoreUnavailableError, StoreError for any other failure.
        """
        ...

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """Replace exactly the version `expect`, None = must not exist; give the new version.

        Readers see the old bytes or the new ones; on return the new ones are durable. Different
        bytes never have the same version. Raises ConflictError (nothing was written),
        StoreAccessError, StoreUnavailableError (surely no effect), OutcomeUnknownError (maybe
        written), StoreError for any other refusal.
        """
        ...

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        """Remove the key, with `expect` only that version; already gone is success.

        Raises as `write`.
        """
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """List the keys that start with `prefix`, sorted, however many there are.

        Raises as `read`, also in the midst of the iteration.
        """
        ...


@runtime_checkable
class AppendStore(Store, Protocol):
    """A store that can also grow a value in place, at a cost that does not depend on its size.

    version = store.append("devstream.state.log", b"record", expect=version)
    """

    def append(self, key: str, data: bytes, *, expect: Version) -> Version:
        """Add `data` behind exactly the version `expect`; give the version of the whole.

        It is durable on return, and the fence is that of `write`: another client's write or append
        has moved the version, and then nothing is added. A writer that dies in mid-append may leave
        the first part of `data` behind, which readers see as part of the value: frame the records
        and ignore a torn last one. Raises as `write`.
        """
        ...


class Locker(Protocol):
    """One lock per key. A locker never waits and never judges leases.

    mine = locker.put("devstream.state", info, expect=None)     # acquire
    mine = locker.put("devstream.state", renewed, expect=mine)  # renew
    locker.remove("devstream.state", expect=mine)               # release
    """

    def read(self, key: str) -> LockRecord | None:
        """Read the record that holds the lock; None if the lock is free.

        An unreadable record is a LockRecord with `info` None. Raises as `Store.read`.
        """
        ...

    def put(self, key: str, info: LockInfo, *, expect: LockRecord | None) -> LockRecord:
        """Write a record; give it with its new version.

        `expect` None acquires, the caller's own record renews, a record seen by `read` takes over.
        Of several clients that expect the same, one succeeds. Raises LockHeldError with the record
        that holds the lock instead, LockError if `expect` is gone and none holds it; store errors
        as `Store.write`.
        """
        ...

    def remove(self, key: str, *, expect: LockRecord) -> None:
        """Release exactly that record, never another holder's.

        Raises LockHeldError with the record that holds the lock instead, LockError if none does;
        store errors as `Store.write`.
        """
        ...


@runtime_checkable
class ProcessLocker(Locker, Protocol):
    """A locker whose lock ends with the holder's process: a record without lock proves a death."""

    def dead_holder(self, key: str) -> LockInfo | None:
        """Give the dead holder whose lock we acquired last; None if the lock was free."""
        ...

    def remove(self, key: str, *, expect: LockRecord, dead_holder: LockInfo | None = None) -> None:
        """Release as `Locker.remove`.

        `leaving` is the record of a dead holder that stays behind without a lock, so that the next
        client to acquire it learns of that death, too.
        """
        ...


class OpenedBackend(msgspec.Struct, frozen=True):
    """A place for a state, not asked yet: the state file is `key` in `store`.

    `lockers` makes a locker per kind that this place has: `native` (the store itself), `dynamodb`.
    `certain`: every server of this kind compares and swaps, so that nothing has to be probed.
    `lease`: seconds that the native lock outlives its holder's last sign of life, unless the
    settings say otherwise.
    """

    store: Store
    key: str
    lockers: Mapping[str, Callable[[], Locker]]
    trusted: bool = False
    lease: float = 30.0


class Backend(Protocol):
    """A module with these names, imported once a state is to be opened.

    The entry points "dtm.backends" name the modules of other packages. `OPTIONS` is the options
    Struct. A module that can make the place of a state has `creating` too, with the parameters of
    `open_backend`, which gives a `Creating`.

        opened = backend.open_backend({"stateFile": "devstream.state"}, base_dir, os.environ)
        opened.store.read(opened.key)
    """

    OPTIONS: type[msgspec.Struct]

    def open_backend(
        self, options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]
    ) -> OpenedBackend:
        """Find the place that options lead to; no server is asked.

        The options fit `OPTIONS`, have canonical names, and their secrets are revealed; paths among
        them are relative to `base_dir`. Raises ConfigError with everything that is wrong with them
        nevertheless, each `Problem.where` naming the option, and UsageError.
        """
        ...


class Provisioner(Protocol):
    """An addition to a backend: it makes the place that a state needs and names its permissions."""

    def missing(self) -> Sequence[str]:
        """Describe each thing that does not exist yet in one sentence; none if all is there.

        Changes nothing. Raises as `Store.read`.
        """
        ...

    def create(self) -> Sequence[str]:
        """Make what is missing; describe each thing made in one sentence.

        Safe to repeat. Raises as `Store.write`.
        """
        ...

    def policy(self) -> str:
        """Write the least permissions that this state needs, as text to paste.

        No server is asked. Raises nothing.
        """
        ...


def _never() -> bool:
    return False


def _silent(_text: str, _fraction: float | None = None) -> None:
    return None


class Call(msgspec.Struct, frozen=True):
    """The operation that a provider serves, and its way to report.

    `base_dir`: relative paths in options start here.
    `deadline`: `time.monotonic()` seconds.
    `token`: stable for this operation across retries and recovery; put it where the target can
    keep it.
    `lineage`: of the state that owns the resource.
    `cancelled()`: True once the operation should stop at the next convenient point.
    `report(text, fraction)` shows progress; `warn(text)` is for the user to know afterwards.
    """

    address: Address
    base_dir: Path = msgspec.field(default_factory=Path.cwd)
    deadline: float = float("inf")
    token: str = ""
    lineage: str = ""
    cancelled: Callable[[], bool] = _never
    report: Callable[..., None] = _silent
    warn: Callable[[str], None] = _silent


class Provider(Protocol[O]):
    """The object behind one plugin name. `plugin` is the canonical name that its aliases share.

        provider.identity(options)                         # "file:out/a.txt"
        provider.read(options, None, call)                 # None: absent
        resource = provider.create(options, call)
        provider.read(options, resource, call) == resource
        resource = provider.update(changed, resource, call)
        provider.delete(changed, resource, call)

    Options arrive decoded, secrets revealed. So do resources in `update` and `delete`, while the
    recorded resource that `read` gets has a Digest for each secret. A field that is not known yet
    is `UNKNOWN`; to use one raises UnknownValueError, which `identity` and `predict` let pass: the
    caller takes it for "not known yet". All methods may be called from several threads.

    A failure that the provider can name is a ProviderError, `retryable` where another try may
    succeed; any other exception is reported as a fault of the plugin.
    """

    plugin: str
    options: type[O]

    @property
    def outputs(self) -> type[msgspec.Struct] | None:
        """The Struct of the outputs; a plain attribute will do. Raises nothing.

        None: open outputs, whose keys are unknown before the first run.
        """
        ...

    def identity(self, options: O) -> str | None:
        """Give the natural key as text (`file:out/a.txt`), or BY_ADDRESS.

        None if the resource cannot be found again. Pure: the same options give the same key, and
        nothing is asked. Raises UnknownValueError.
        """
        ...

    def predict(self, options: O, resource: Resource | None) -> Mapping[str, Value]:
        """Give the outputs after a create (resource None) or an update, UNKNOWN for the rest.

        Pure, as `identity`. What it gives must come true. Raises UnknownValueError.
        """
        ...

    def read(self, options: O, resource: Resource | None, call: Call) -> Resource | None:
        """Read the live resource, by identity if `resource` is None; None if it is gone.

        Changes nothing. Where options were changed it may be called with the recorded ones, too:
        only these show what was changed outside dtm. Raises ProviderError if it cannot tell.
        """
        ...

    def create(self, options: O, call: Call) -> Resource:
        """Make the resource; complete one that an earlier try of this provider left half made.

        Idempotent by identity. A resource that was not made by dtm is refused. Raises
        ProviderError, OutcomeUnknownError (maybe made), CancelledError.
        """
        ...

    def update(self, options: O, resource: Resource, call: Call) -> Resource:
        """Change the resource in place; never destroy data to apply a change.

        Safe to repeat. Raises as `create`.
        """
        ...

    def delete(self, options: O, resource: Resource, call: Call) -> None:
        """Remove the resource; already gone is success. Raises as `create`."""
        ...


AnyProvider: TypeAlias = Provider[Any]


@runtime_checkable
class HasDerivedAttributes(Protocol):
    """An addition to a provider: it tells attributes that follow from inputs from observed ones."""

    def derived_attributes(self) -> Collection[str]:
        """Name the attributes that follow from the inputs alone. Raises nothing.

        Inputs are the options and the files or templates that they name. A difference in such an
        attribute is a changed input; in any other one it is drift.
        """
        ...


@runtime_checkable
class HasRequirements(Protocol):
    """An addition to a provider: it says before the first change of a run what is missing."""

    def missing_requirements(self, options: Any) -> Sequence[str]:
        """Describe each absent binary, variable or credential in one sentence; none if all exist.

        Asks nothing over the network. Options may hold `UNKNOWN`; to use one raises
        UnknownValueError. Before a delete that means a secret that is gone, which is reported; else
        the caller takes it for "nothing missing".
        """
        ...


@runtime_checkable
class HasInputFiles(Protocol):
    """An addition to a provider: it names the paths that must exist before it makes or updates."""

    def input_paths(self, options: Any) -> Mapping[str, str]:
        """Map options to the paths as written there: relative to the configuration, `~` expanded.

        The paths are looked at before the first change of a run, unless a tool that this one
        depends on is changed, too, and may make them. Raises UnknownValueError, as in `Requiring`.
        """
        ...
