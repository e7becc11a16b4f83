"""The seams: where bytes live, who holds the lock, and who changes the world.

Every call of a Store or Locker is *one try*: retries, waiting, polling, leases and "is it ours after a lost
answer" live above, in `engine.session.opening` and `engine.session.locking`. No SDK exception may cross these protocols.
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
"""The identity of what is found again by the tool's own address (`data`, a `command` with `read`).

It counts as known, so nothing needs `--resolve`; it is never compared: two such tools are no clash and no move.
"""


class Snapshot(msgspec.Struct, frozen=True):
    """Stored bytes and the opaque token of this version: an ETag, generation, resourceVersion or content hash."""

    data: bytes
    version: Version


class Store(Protocol):
    """Bytes under keys with compare-and-swap; keys are relative to `location` and use "/"."""

    @property
    def location(self) -> str:
        """Where this is, for messages and as a state's `home`: a URL without credentials."""
        ...

    def read(self, key: str) -> Snapshot | None:
        """The newest version, None if there is none. Raises StoreAccessError, StoreUnavailableError."""
        ...

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """Replace exactly the version `expect`, None = must not exist; atomic for readers, durable on return.

        Raises ConflictError (nothing written), StoreAccessError, StoreUnavailableError (surely no effect),
        OutcomeUnknownError (maybe written).
        """
        ...

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        """Remove the key, with `expect` only that version; already gone is success. Raises as `write`."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that start with `prefix`, sorted. Raises as `read`."""
        ...


@runtime_checkable
class AppendStore(Store, Protocol):
    """A store that can also grow a value in place, at a cost that does not depend on how much is there already."""

    def append(self, key: str, data: bytes, *, expect: Version) -> Version:
        """Add `data` behind exactly the version `expect`; returns the version of the whole, durable on return.

        The fence is that of `write`, and versions are the same: whoever wrote or appended in between has moved the
        version, and nothing is added. A writer that dies in mid-append may leave the first part of `data` behind, which
        readers then see as part of the value: frame the records and ignore a torn last one. Raises as `write`.
        """
        ...


class Locker(Protocol):
    """One lock per key. A locker never waits and never judges leases."""

    def read(self, key: str) -> LockRecord | None:
        """The record that holds the lock, None if it is free. Raises StoreAccessError, StoreUnavailableError."""
        ...

    def put(self, key: str, info: LockInfo, *, expect: LockRecord | None) -> LockRecord:
        """Write a record: `expect` None = acquire, one's own = renew, a seen one = take over.

        Raises LockHeldError with the record that is there instead, LockError if `expect` is gone and none is there;
        store errors as `Store.write`.
        """
        ...

    def remove(self, key: str, *, expect: LockRecord) -> None:
        """Release exactly that record. Raises LockHeldError if another is there, LockError if none is."""
        ...


@runtime_checkable
class ProcessLocker(Locker, Protocol):
    """A locker whose lock ends with its holder's process, so that a record without a lock proves a death."""

    def died(self, key: str) -> LockInfo | None:
        """Who died and so left us the lock that we acquired last; None if it was free."""
        ...

    def remove(self, key: str, *, expect: LockRecord, leaving: LockInfo | None = None) -> None:
        """Release as `Locker.remove`.

        `leaving` is the record of a dead holder that stays behind without a lock, so that the next
        client to acquire it learns of that death, too.
        """
        ...


class Opened(msgspec.Struct, frozen=True):
    """A place for a state: the document is `key` in `store`; `lockers` makes a locker per kind that this place has.

    Kinds are `native` (the store itself) and `dynamodb`; nothing is asked before a locker is made and used.
    `certain`: every server of this kind compares and swaps, so that nothing has to be probed. `lease`: seconds that the
    native lock outlives its holder's last sign of life where nobody says otherwise.
    """

    store: Store
    key: str
    lockers: Mapping[str, Callable[[], Locker]]
    certain: bool = False
    lease: float = 30.0


class Backend(Protocol):
    """A backend is a module with these names, imported once a state is there (entry points "dtm.backends" name others').

    `OPTIONS` is its options Struct. `open_backend` gets options that fit it, under canonical names, secrets revealed;
    it may still object: ConfigError with all that is wrong, `Problem.where` naming the option. It asks nobody.
    A module that can make the place of a state has `creating` too, with the same parameters, for a `Creating`.
    """

    OPTIONS: type[msgspec.Struct]

    def open_backend(
        self, options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]
    ) -> Opened:
        """Where these options lead; paths among them are relative to `base_dir`. Raises ConfigError, UsageError."""
        ...


class Creating(Protocol):
    """What a backend may offer besides: it makes the place that a state needs, and says who must be allowed what."""

    def missing(self) -> Sequence[str]:
        """One sentence per thing that does not exist yet, none if all is there. Raises as `Store.read`."""
        ...

    def create(self) -> Sequence[str]:
        """Make what is missing; one sentence per thing made. Raises as `Store.write`."""
        ...

    def policy(self) -> str:
        """The least permissions that this state needs, as text to paste. Asks nobody."""
        ...


def _never() -> bool:
    return False


def _silent(_text: str, _fraction: float | None = None) -> None:
    return None


class Call(msgspec.Struct, frozen=True):
    """What a provider is told about the operation it serves.

    `deadline`: `time.monotonic()` seconds. `token`: stable for this operation across retries and recovery; put it where
    the target can keep it. `cancelled()`: stop when convenient. `report(text, fraction)`: how it goes on;
    `warn(text)`: what a person should know afterwards. `lineage`: of the state that owns the thing.
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

    Options arrive decoded, secrets revealed; so do resources in `update` and `delete`, while in the recorded one that `read`
    gets a secret is a Digest. In `identity` and `predict` fields may be `UNKNOWN`; using one raises UnknownValueError, which
    the caller takes for "not known yet". All methods may be called from several threads.
    """

    plugin: str
    options: type[O]

    @property
    def outputs(self) -> type[msgspec.Struct] | None:
        """A plain attribute will do. None: open outputs, keys unknown before the first run."""
        ...

    def identity(self, options: O) -> str | None:
        """The natural key as text (`file:out/a.txt`) or BY_ADDRESS, None if the thing cannot be found again. Pure."""
        ...

    def predict(self, options: O, resource: Resource | None) -> Mapping[str, Value]:
        """Outputs after a create (resource None) or update as far as known without I/O; UNKNOWN for the rest. Pure."""
        ...

    def read(self, options: O, resource: Resource | None, call: Call) -> Resource | None:
        """What is live; without `resource` it is looked up by identity. None = gone. Raises ProviderError if it cannot tell.

        Where options were changed it may be called with the recorded ones, too: only what these show tells what others did.
        """
        ...

    def create(self, options: O, call: Call) -> Resource:
        """Make it; idempotent by identity: completes its own half-made thing, refuses somebody else's."""
        ...

    def update(self, options: O, resource: Resource, call: Call) -> Resource:
        """Change it in place; never destroys data to apply a change."""
        ...

    def delete(self, options: O, resource: Resource, call: Call) -> None:
        """Remove it; already gone is success."""
        ...


AnyProvider: TypeAlias = Provider[Any]


@runtime_checkable
class Deriving(Protocol):
    """What a provider may offer besides: it tells which attributes say what should be, as opposed to what is."""

    def derived(self) -> Collection[str]:
        """Names of attributes that follow from the inputs alone: from options, and from files or templates they name."""
        ...


@runtime_checkable
class Requiring(Protocol):
    """What a provider may offer besides: it says before the first change of a run what is missing."""

    def requires(self, options: Any) -> Sequence[str]:
        """One sentence per absent binary, variable or credential, none if all is there. No network.

        Options may hold `UNKNOWN`; using one raises UnknownValueError. Before a delete that stands for a secret that is gone,
        and is told; else the caller takes it for "nothing missing".
        """
        ...


@runtime_checkable
class Consuming(Protocol):
    """What a provider may offer besides: it names the paths that must be there before it can make or update anything."""

    def inputs(self, options: Any) -> Mapping[str, str]:
        """Option -> path as it is written there: relative to the configuration, `~` is expanded.

        Looked at before the first change of a run, unless a tool that this one depends on is changed, too, and may make it.
        Options may hold `UNKNOWN`, as in `Requiring`.
        """
        ...
