"""The protocols of stores, lockers, backends and providers, and the values that they exchange.

Authors of plugins implement `Provider`, authors of backends implement `Backend`, `Store` and
`Locker`. The engine uses adapters only through these protocols.

Each call of a Store or a Locker is *one try*: the implementation sends a request once and reports
the result. `engine.log.state_store` and `engine.session.locking` do the rest: retries, pauses,
polling, leases, and the check whether a request without an answer had its effect. An implementation
raises only the errors of `engine.errors`, never an exception of an SDK.
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
"""An opaque token for one version of stored bytes."""
Emit: TypeAlias = Callable[[Event], None]
O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741 - the options Struct of a provider

BY_ADDRESS: Final = "address"
"""The identity of a resource that dtm finds by the address of its tool, such as a `data` tool.

The planner treats it as a known identity, so that no such tool needs `--resolve`. It never compares
two of them: two tools with this identity neither clash nor count as one renamed tool.
"""


class StoredObject(msgspec.Struct, frozen=True):
    """The bytes of one key and their version.

    The version is an opaque token: an ETag, generation, resourceVersion or content hash.
    """

    data: bytes
    version: Version


class Store(Protocol):
    """Bytes under keys, each replaced only on condition that its version is the expected one.

    Keys are relative to `location` and use "/" as separator. Two threads may call at the same time:
    the lock is renewed while the commit log is written.

        version = store.write("devstream.state", b"one", expect=None)
        store.write("devstream.state", b"two", expect=version)
        store.read("devstream.state").data  # b"two"
    """

    @property
    def location(self) -> str:
        """The place of the keys as a URL without credentials, for messages and the state's `home`.

        It never changes. Reading it sends no request and raises nothing.

            store.location  # "s3://bucket/team"
        """
        ...

    def read(self, key: str) -> StoredObject | None:
        """Return the newest version of a key, None if there is none.

        A read shows each write that has returned, also that of another client, and never a part of
        a write. Raises StoreAccessError, StoreUnavailableError, and StoreError for any other
        failure.

            found = store.read("devstream.state")
            version = found.version if found else None
        """
        ...

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """Replace exactly the version `expect` and return the new version.

        With `expect` None the key must not exist yet.

        Readers see either the old or the new bytes. When the call returns, the new bytes are
        durable. Different bytes never have the same version.

        Raises ConflictError (another version is stored; nothing was written), StoreAccessError,
        StoreUnavailableError (certainly nothing was written), OutcomeUnknownError (the data may
        have been written), and StoreError for any other refusal.

            version = store.write("a", b"one", expect=None)  # the key must not exist
            store.write("a", b"two", expect=version)
            store.write("a", b"three", expect=version)  # raises ConflictError
        """
        ...

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        """Remove a key; with `expect`, only that version of it. A key that is gone is a success.

        Raises the same errors as `write`.

            store.delete("devstream.state.log", expect=version)
        """
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Yield all keys that start with `prefix`, sorted, however many they are.

        Raises the same errors as `read`, also in the middle of the iteration.

            list(store.list("devstream.state.history/"))
        """
        ...


@runtime_checkable
class AppendStore(Store, Protocol):
    """A store that can also extend a value in place, at a cost that does not depend on its size."""

    def append(self, key: str, data: bytes, *, expect: Version) -> Version:
        """Add `data` after exactly the version `expect` and return the version of the whole value.

        When the call returns, the data is durable. The condition is that of `write`: if another
        client has written or appended since, nothing is added. If the process ends during an
        append, readers may see the first part of `data`. The caller therefore frames its records
        and ignores an incomplete last one. Raises the same errors as `write`.

            version = store.append("devstream.state.log", b"record", expect=version)
        """
        ...


class Locker(Protocol):
    """One lock record per key. A locker never waits and never judges whether a lease has expired.

    An example:

        mine = locker.put("devstream.state", info, expect=None)
        mine = locker.put("devstream.state", renewed, expect=mine)
        locker.remove("devstream.state", expect=mine)
    """

    def read(self, key: str) -> LockRecord | None:
        """Return the record that holds the lock, None if the lock is free.

        A record that cannot be parsed is a LockRecord with `info` None; it holds the lock, too.
        Raises the same errors as `Store.read`.

            held = locker.read("devstream.state")
            who = held.holder if held else "free"
        """
        ...

    def put(self, key: str, info: LockInfo, *, expect: LockRecord | None) -> LockRecord:
        """Write a lock record and return it with its new version.

        If `expect` is None, this acquires the lock. If it is the caller's own record, this renews
        the lock. If it is the record of another holder, as `read` returned it, this takes the lock
        over. If several clients expect the same record, exactly one of them succeeds.

        Raises LockHeldError if another record holds the lock (the error contains it), LockError if
        `expect` is gone and the lock is free, and the errors of `Store.write`.

            mine = locker.put("devstream.state", info, expect=None)        # acquire
            mine = locker.put("devstream.state", renewed, expect=mine)     # renew
            mine = locker.put("devstream.state", info, expect=expired)     # take over
        """
        ...

    def remove(self, key: str, *, expect: LockRecord) -> None:
        """Release the lock if exactly this record holds it, never the lock of another holder.

        Raises LockHeldError if another record holds the lock (the error contains it), LockError if
        the lock is free, and the errors of `Store.write`.

            locker.remove("devstream.state", expect=mine)
        """
        ...


@runtime_checkable
class ProcessLocker(Locker, Protocol):
    """A locker whose lock ends with the process of its holder.

    If a record exists but its lock is free, the process of its holder has therefore ended.
    """

    def dead_holder(self, key: str) -> LockInfo | None:
        """Return the previous holder if its process ended without releasing the lock, else None.

        The last acquisition replaced that holder's record. Sends no request and raises nothing.

            mine = locker.put("devstream.state", info, expect=None)
            ended = locker.dead_holder("devstream.state")
        """
        ...

    def remove(self, key: str, *, expect: LockRecord, dead_holder: LockInfo | None = None) -> None:
        """Release the lock as `Locker.remove` does.

        If `dead_holder` is given, its record stays although the lock is free. The next client that
        acquires the lock then learns, too, that this holder's process has ended.

            locker.remove("devstream.state", expect=mine, dead_holder=ended)
        """
        ...


class OpenedBackend(msgspec.Struct, frozen=True):
    """The place of one state: the state file is `key` in `store`. No server was asked yet.

    `lockers` has a function for each kind of lock that this place supports, `native` (kept in the
    store itself) or `dynamodb`. The function returns a locker.
    `trusted`: every server of this kind honors conditional writes, so that no probe is needed.
    `lease`: seconds for which the native lock stays valid without a renewal, unless the settings
    give another lease.
    """

    store: Store
    key: str
    lockers: Mapping[str, Callable[[], Locker]]
    trusted: bool = False
    lease: float = 30.0


class Backend(Protocol):
    """The names that the module of a backend defines.

    dtm imports the module when it opens a state of this kind.

    Another package names its module in the entry point group "dtm.backends". A module that can
    also create the place of a state has a function `open_provisioner` with the parameters of
    `open_backend`; it returns a `Provisioner`.

        opened = backend.open_backend({"stateFile": "devstream.state"}, base_dir, os.environ)
        opened.store.read(opened.key)
    """

    OPTIONS: type[msgspec.Struct]
    """The Struct of the backend's options, which the section `state:` is checked against."""

    def open_backend(
        self, options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]
    ) -> OpenedBackend:
        """Return the place that the options describe. Sends no request.

        The options already match `OPTIONS`: their names are canonical and their secrets revealed.
        Relative paths start at `base_dir`. Raises ConfigError with all remaining problems, each
        with the option's name in `Problem.where`, and UsageError.

            def open_backend(options, base_dir, env):
                store = DirectoryStore(base_dir / str(options["path"]))
                return OpenedBackend(store, "state", {"native": lambda: ObjectLocker(store)})
        """
        ...


class Provisioner(Protocol):
    """An addition to a backend: creates the place of a state and describes the needed permissions.

    An example:

        provisioner = backend.open_provisioner(options, base_dir, os.environ)
        provisioner.create()
    """

    def missing(self) -> Sequence[str]:
        """Return one sentence for each thing that does not exist yet, such as the bucket.

        Changes nothing. Raises the same errors as `Store.read`.

            provisioner.missing()  # ["bucket team-state does not exist"]
        """
        ...

    def create(self) -> Sequence[str]:
        """Create what is missing and return one phrase for each created thing.

        Safe to repeat: what exists already is left alone. Raises the same errors as `Store.write`.

            provisioner.create()  # ["bucket team-state in eu-west-1"]
            provisioner.create()  # []
        """
        ...

    def policy(self) -> str:
        """Return the smallest set of permissions that this state needs, as text to paste.

        Sends no request and raises nothing.

            print(provisioner.policy())
        """
        ...


def _never() -> bool:
    return False


def _silent(_text: str, _fraction: float | None = None) -> None:
    return None


class Call(msgspec.Struct, frozen=True):
    """The operation that a provider carries out, and the ways to report from it.

    `base_dir`: the directory at which relative paths in options start.
    `deadline`: the end of the operation, in seconds of `time.monotonic()`.
    `token`: an ID of this operation that stays the same across retries and recovery. A provider
    stores it with the resource where the system allows it.
    `lineage`: the lineage of the state that owns the resource.
    `cancelled()`: returns True once the provider should stop at the next safe point.
    `report(text, fraction)`: shows progress; `fraction` is in 0..1 or None.
    `warn(text)`: records a warning that is shown at the end of the run.
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

        provider.identity(options)  # "file:out/a.txt"
        provider.read(options, None, call)  # None: the resource does not exist
        resource = provider.create(options, call)
        provider.read(options, resource, call) == resource
        resource = provider.update(changed, resource, call)
        provider.delete(changed, resource, call)

    Options are decoded into the Struct and their secrets are revealed. The same holds for the
    resources that `update` and `delete` get. The recorded resource that `read` gets is different:
    it holds a Digest in place of each secret.

    A field whose value is not known yet is `UNKNOWN`. Using it raises UnknownValueError, which
    `identity` and `predict` do not catch: the caller then treats the result as not known yet.

    All methods may be called from several threads. A failure that the provider can explain is a
    ProviderError, with `retryable=True` if another try may succeed. Any other exception is reported
    as a bug of the plugin.
    """

    plugin: str
    options: type[O]

    @property
    def outputs(self) -> type[msgspec.Struct] | None:
        """The Struct of the outputs, or None if their keys are not known before the first run.

        A class attribute is enough. Reading it raises nothing.

            class FileProvider:
                outputs = FileOutputs
        """
        ...

    def identity(self, options: O) -> str | None:
        """Return the natural key of the resource as text, or BY_ADDRESS.

        Return None if a resource cannot be found again without its ID. Pure: the same options give
        the same key, and no system is asked. Raises UnknownValueError.

            def identity(self, options):
                return f"file:{options.path}"
        """
        ...

    def predict(self, options: O, resource: Resource | None) -> Mapping[str, Value]:
        """Return the outputs after a create (`resource` is None) or an update.

        An output that cannot be known before the operation is UNKNOWN. All other outputs must be
        equal to the real ones. Pure, like `identity`. Raises UnknownValueError.

            def predict(self, options, resource):
                return {"path": options.path, "size": UNKNOWN}
        """
        ...

    def read(self, options: O, resource: Resource | None, call: Call) -> Resource | None:
        """Return the live resource, None if it does not exist.

        If `resource` is None, find it by its identity. Changes nothing. If options were changed,
        dtm may read a second time with the recorded options, since only those show drift. Raises
        ProviderError if the provider cannot find out whether the resource exists.

            def read(self, options, resource, call):
                path = call.base_dir / options.path
                return describe(path) if path.exists() else None
        """
        ...

    def create(self, options: O, call: Call) -> Resource:
        """Create the resource and return it.

        Complete a resource that an earlier try of this provider left incomplete, so that a repeated
        call creates nothing twice. Refuse a resource that dtm did not create. Raises ProviderError,
        OutcomeUnknownError (the resource may have been created), CancelledError.

            def create(self, options, call):
                path = call.base_dir / options.path
                if path.exists():
                    raise ProviderError(f"{path} exists already")
                path.write_text(options.content)
                return describe(path)
        """
        ...

    def update(self, options: O, resource: Resource, call: Call) -> Resource:
        """Change the resource in place and return it. Never destroy data to apply a change.

        Safe to repeat. Raises the same errors as `create`.

            def update(self, options, resource, call):
                path = call.base_dir / options.path
                path.write_text(options.content)
                return describe(path)
        """
        ...

    def delete(self, options: O, resource: Resource, call: Call) -> None:
        """Delete the resource. A resource that is already gone is a success.

        Raises the same errors as `create`.

            def delete(self, options, resource, call):
                (call.base_dir / options.path).unlink(missing_ok=True)
        """
        ...


AnyProvider: TypeAlias = Provider[Any]
"""A provider with any options Struct, for code that handles all providers alike."""


# The following protocols are optional. The engine looks for their method on the provider's class,
# so that a provider needs to inherit from none of them.


@runtime_checkable
class HasDerivedAttributes(Protocol):
    """An addition to a provider: names the attributes that are computed from its inputs."""

    def derived_attributes(self) -> Collection[str]:
        """Return the names of the attributes that follow from the inputs alone. Raises nothing.

        Inputs are the options and the files or templates that they name. If such an attribute
        differs, the plan reports a changed input. If any other attribute differs, the plan reports
        drift.

            def derived_attributes(self):
                return ["sourceDigest"]
        """
        ...


@runtime_checkable
class HasRequirements(Protocol):
    """An addition to a provider: reports what is missing, before the first change of a run."""

    def missing_requirements(self, options: Any) -> Sequence[str]:
        """Return one sentence for each missing program, variable or credential.

        Sends no request. Using an option that is UNKNOWN raises UnknownValueError, which the method
        does not catch. dtm then assumes that nothing is missing, but reports a secret that a delete
        needs and that is not set any more.

            def missing_requirements(self, options):
                return [] if shutil.which("git") else ["git is not installed"]
        """
        ...


@runtime_checkable
class HasInputFiles(Protocol):
    """An addition to a provider: names the paths that must exist before a create or an update."""

    def input_paths(self, options: Any) -> Mapping[str, str]:
        """Return the paths by option name, as the user wrote them.

        They may start with `~`; relative ones start at the folder of the configuration. dtm checks
        them before the first change of a run. It skips the check if a tool that this one depends on
        is changed as well, since that change may create the paths. Raises UnknownValueError.

            def input_paths(self, options):
                return {"source": options.source}
        """
        ...
