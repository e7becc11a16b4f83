"""A world in memory, providers that fail as planned, and short forms of configs and states."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Annotated, Any

import msgspec
from msgspec.structs import replace

from backends.memory import MemoryStore
from engine.address import Address
from engine.config import Config, Lifecycle, Settings, ToolSpec
from engine.events import Event
from engine.execution import refresh
from engine.language.references import parse
from engine.log.state_store import StateStore
from engine.plan import Plan
from engine.planning.decisions import Resolution
from engine.planning.planner import LiveResources, make_plan
from engine.plugins.calls import Operations
from engine.ports import AnyProvider, Call, Store
from engine.runtime.environment import Environment
from engine.schema import Field, Options, Outputs
from engine.secrets.marking import mark_like
from engine.secrets.sealing import Sealer
from engine.session.locking import LockOptions
from engine.session.opening import open_session
from engine.session.session import Session, SessionOptions
from engine.state import Pending, Resource, State, StateEntry, StateId
from engine.values import UNKNOWN, Secret, Value, map_leaves, reveal

SALT = "5a" * 16
SEALER = Sealer(SALT)


class ThingOptions(Options, frozen=True, kw_only=True):
    """Options of every fake."""

    key: Annotated[str, Field("what it is found by", replace=True)]
    value: Annotated[Any, Field("anything")] = None
    token: Annotated[str, Field("a secret", secret=True, env="THING_TOKEN")] = ""


class ThingOutputs(Outputs, frozen=True, kw_only=True):
    """Outputs of `thing`."""

    key: Annotated[str, Field("its key")]
    value: Annotated[Any, Field("its value")]
    serial: Annotated[int, Field("how many things were made before")]
    password: Annotated[str, Field("made up by the world", secret=True)]


@dataclass
class FakeSystem:
    """Fake systems: `things` by key, `effects` the creates that took place, `calls` every call."""

    things: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    effects: list[str] = field(default_factory=list[str])
    calls: list[str] = field(default_factory=list[str])
    tokens: list[str] = field(default_factory=list[str])
    faults: dict[str, list[Callable[[], object]]] = field(
        default_factory=dict[str, list[Callable[[], object]]]
    )
    lock: RLock = field(default_factory=RLock)

    def called(self, method: str, key: str) -> None:
        """Note a call, and fail if one is planned."""
        with self.lock:
            self.calls.append(f"{method} {key}")
            planned = self.faults.get(f"{method} {key}") or self.faults.get(f"{method} *")
            fault = planned.pop(0) if planned else None
        if fault:
            fault()

    def count(self, method: str) -> int:
        """How many calls of a method there were."""
        return sum(call.startswith(f"{method} ") for call in self.calls)


class Thing:
    """Finds its things by their key."""

    plugin = "thing"
    options = ThingOptions
    outputs: type[msgspec.Struct] | None = ThingOutputs

    def __init__(self, system: FakeSystem) -> None:
        self.system = system

    def identity(self, options: ThingOptions) -> str | None:
        return f"thing:{options.key}"

    def predict(self, options: ThingOptions, resource: Resource | None) -> Mapping[str, Value]:
        serial: Value = resource.outputs.get("serial", UNKNOWN) if resource else UNKNOWN
        password: Value = resource.outputs.get("password", UNKNOWN) if resource else UNKNOWN
        return {"key": options.key, "value": options.value, "serial": serial, "password": password}

    def read(self, options: ThingOptions, resource: Resource | None, call: Call) -> Resource | None:
        key = resource.id if resource else options.key
        self.system.called("read", key)
        return self._found(key)

    def _found(self, key: str) -> Resource | None:
        with self.system.lock:
            thing = self.system.things.get(key)
            if thing is None:
                return None
            outputs = {
                "key": key,
                "value": thing["value"],
                "serial": thing["serial"],
                "password": f"secret of {key}",
            }
            return Resource(key, {"value": thing["value"], "color": thing["color"]}, outputs)

    def create(self, options: ThingOptions, call: Call) -> Resource:
        self.system.tokens.append(call.token)
        self.system.called("create", options.key)
        self._effect(options)
        self.system.called("after create", options.key)
        found = self._found(options.key)
        assert found is not None
        return found

    def _effect(self, options: ThingOptions) -> None:
        with self.system.lock:
            assert options.key not in self.system.things, f"{options.key} is made twice"
            self.system.effects.append(options.key)
            self.system.things[options.key] = {
                "value": options.value,
                "color": "red",
                "serial": len(self.system.effects),
            }

    def update(self, options: ThingOptions, resource: Resource, call: Call) -> Resource:
        self.system.called("update", resource.id)
        with self.system.lock:
            self.system.things[resource.id] |= {"value": options.value, "color": "red"}
        self.system.called("after update", resource.id)
        found = self._found(resource.id)
        assert found is not None
        return found

    def delete(self, options: ThingOptions, resource: Resource, call: Call) -> None:
        self.system.called("delete", resource.id)
        with self.system.lock:
            self.system.things.pop(resource.id, None)
        self.system.called("after delete", resource.id)


class Alias(Thing):
    """The same plugin under the old name `oldthing`."""


class Blind(Thing):
    """Cannot find its things again, but by their id. Its outputs are open, so none is secret."""

    plugin = "blind"
    outputs: type[msgspec.Struct] | None = None

    def identity(self, options: ThingOptions) -> str | None:
        return None


class Open(Thing):
    """Says nothing of its outputs before they are there."""

    plugin = "open"
    outputs: type[msgspec.Struct] | None = None

    def identity(self, options: ThingOptions) -> str | None:
        return f"open:{options.key}"

    def predict(self, options: ThingOptions, resource: Resource | None) -> Mapping[str, Value]:
        return {**resource.outputs, "value": options.value} if resource else {}


class PlainOutputs(Outputs, frozen=True, kw_only=True):
    """Outputs of `plain`."""

    key: Annotated[str, Field("its key")]
    value: Annotated[Any, Field("its value")]
    serial: Annotated[int, Field("how many things were made before")]


class Plain(Thing):
    """Has no secret output, so that much can be done with it in little time."""

    plugin = "plain"
    outputs: type[msgspec.Struct] | None = PlainOutputs

    def identity(self, options: ThingOptions) -> str | None:
        return f"plain:{options.key}"


def providers(system: FakeSystem) -> dict[str, AnyProvider]:
    """Every fake by its names."""
    return {
        "thing": Thing(system),
        "oldthing": Alias(system),
        "blind": Blind(system),
        "open": Open(system),
        "plain": Plain(system),
    }


def operations(system: FakeSystem, secrets: Mapping[str, str] | None = None) -> Operations:
    """Providers as the engine calls them; `secrets` is what sources still give."""
    return Operations(providers(system), Path("/base"), (secrets or {}).get)


def at(text: str) -> Address:
    """`a` is thing/a, `blind.a` blind/a."""
    return Address.parse(text if "." in text else f"thing.{text}")


def ref(text: str) -> Value:
    """`a.value` refers to an output of thing/a."""
    found = parse(f"thing.{text.replace('.', '.outputs.', 1)}")
    assert found is not None
    return found


def tool(name: str, *needs: str, protect: bool = False, **options: Any) -> ToolSpec:
    """A wanted tool: its key is its instance unless given."""
    address = at(name)
    given = {"key": address.instance, **options}
    lifecycle = Lifecycle(prevent_destroy=protect)
    return ToolSpec(address, given, tuple(map(at, needs)), lifecycle)


def config(*tools: ToolSpec, **outputs: Value) -> Config:
    """A config of these tools."""
    return Config(Settings(Path("/base")), tools, outputs, "digest")


def entry(
    name: str, *needs: str, pending: Pending | None = None, made: bool = True, **options: Any
) -> StateEntry:
    """Return the entry of a tool that stands as `World` would have made it."""
    address = at(name)
    protected = options.pop("protected", False)
    given = {"key": address.instance, **options}
    sealed = SEALER.seal_map(given, address)
    resource = thing(str(reveal(given["key"])), given.get("value"))
    resource = replace(
        resource,
        attributes=mark_like(resource.attributes, given),
        outputs=mark_like(resource.outputs, given),
    )
    resource = SEALER.seal_resource(resource, address)
    return StateEntry(
        address, tuple(map(at, needs)), sealed, resource if made else None, protected, pending
    )


def thing(key: str, value: Any = None, color: str = "red", serial: int = 1) -> Resource:
    """A live thing as the engine sees it."""
    plain = map_leaves(value, lambda leaf: leaf.value if isinstance(leaf, Secret) else leaf)
    outputs = {"key": key, "value": plain, "serial": serial, "password": Secret(f"secret of {key}")}
    return Resource(key, {"value": plain, "color": color}, outputs)


def pending(action: str, message: str | None = None) -> Pending:
    """An operation that another session began."""
    return Pending(action, "2026-01-01T00:00:00Z", "other", 7, message)


def state(*entries: StateEntry, **outputs: Value) -> State:
    """A state of these entries."""
    return State(
        StateId("lineage", 3), {item.address: item for item in entries}, outputs, salt=SALT
    )


def live_resources(*resources: tuple[str, Resource | None]) -> LiveResources:
    """The world as it was read."""
    return LiveResources({at(name): resource for name, resource in resources})


@dataclass
class Bench:
    """A state in memory and a world; `run` plans and applies as the command line does."""

    system: FakeSystem = field(default_factory=FakeSystem)
    store: Store = field(default_factory=lambda: MemoryStore("test"))
    events: list[Event] = field(default_factory=list[Event])
    secrets: dict[str, str] = field(default_factory=dict[str, str])
    background: bool = True
    operations: Operations = field(init=False)

    def __post_init__(self) -> None:
        self.operations = operations(self.system, self.secrets)

    @contextmanager
    def session(self) -> Generator[Session]:
        """A session without a lock, with fresh operations, as in a new process."""
        self.operations = operations(self.system, self.secrets)
        with open_session(
            StateStore(
                self.store,
                "k",
                Environment(background=self.background, save_fallback=lambda name, _data: name),
            ),
            None,
            SessionOptions(
                "apply", "test", "1", lock=LockOptions(lease=0), redactor=self.operations.redactor
            ),
            self.events.append,
        ) as session:
            yield session

    def plan(
        self,
        wanted: Config,
        session: Session,
        resolutions: Mapping[Address, Resolution] | None = None,
    ) -> Plan:
        """Read and plan."""
        live = refresh.read(wanted, session.state, self.operations, resolutions=resolutions)
        return make_plan(wanted, session.state, live, self.operations, resolutions=resolutions)

    def state(self) -> State:
        """Return the recorded state."""
        with self.session() as session:
            return session.state
