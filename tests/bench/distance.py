"""Costs of a distant store: 50 ms more per request, with 20 ms per provider call.

The ideal is the time of the provider calls alone, with the same number of workers.
Run: python -m tests.bench.distance
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from backends.lockers.object import ObjectLocker
from backends.memory import MemoryStore
from engine.address import Address
from engine.config import Config, Settings, ToolSpec
from engine.execution import executor
from engine.execution.run_settings import RunControl
from engine.log.state_store import StateStore
from engine.planning.planner import make_plan, recorded_resources
from engine.plugins.calls import Operations
from engine.ports import Call, StoredObject, Version
from engine.session.opening import open_session
from engine.session.reading import read_state
from engine.session.session import Session, SessionOptions
from engine.state import Resource
from providers.data import DataOptions, DataProvider
from tests.bench.bench import say
from tests.bench.shapes import WIDTH, parents

ADDED, CALL, TOOLS, PARALLELISM = 0.05, 0.02, 1000, 20
AIM, LIMIT = 1.3, 1.6
"""Multiples of the ideal for a flat plan. A layered plan may take one more round trip per layer."""


class FarStore(MemoryStore):
    """A MemoryStore with slow requests; `requests` counts them by kind."""

    def __init__(self, seconds: float = ADDED) -> None:
        super().__init__("far")
        self.seconds, self.requests = seconds, Counter[str]()

    def _travel(self, kind: str) -> None:
        self.requests[kind] += 1
        time.sleep(self.seconds)

    def read(self, key: str) -> StoredObject | None:
        """See `engine.ports.Store.read`."""
        self._travel("read")
        return super().read(key)

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """See `engine.ports.Store.write`."""
        self._travel("write")
        return super().write(key, data, expect=expect)

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        """See `engine.ports.Store.delete`."""
        self._travel("delete")
        super().delete(key, expect=expect)

    def list(self, prefix: str) -> Iterator[str]:
        """See `engine.ports.Store.list`."""
        self._travel("list")
        return super().list(prefix)


class Slow(DataProvider):
    """The `data` provider with a slow `create`."""

    def create(self, options: DataOptions, call: Call) -> Resource:
        """See `DataProvider.create`."""
        time.sleep(CALL)
        return super().create(options, call)


def tools(shape: str, count: int) -> tuple[ToolSpec, ...]:
    """Return a shape of `tests.bench.shapes` as tools."""
    return tuple(
        ToolSpec(
            Address("data", f"r{number}"),
            {"input": f"value-{number}"},
            tuple(Address("data", f"r{parent}") for parent in parents(shape, number)),
        )
        for number in range(count)
    )


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds from lock to unlock, seconds of executing the plan alone, and the requests."""

    whole: float
    applying: float
    requests: Counter[str]


def measure(shape: str, *, count: int = TOOLS, log: str = "auto", new: bool = True) -> Cost:
    """Apply a shape to a new state, or with `new` False to one that was written before."""
    store, base = FarStore(), Path("/base")
    config = Config(Settings(base), tools(shape, count), {}, "digest")
    operations = Operations({"data": Slow()}, base, lambda _source: None)
    if not new:
        with _session(store, log) as session:
            session.claim()
            session.set_outputs({"a": 1})
        store.requests.clear()
    started = time.monotonic()
    with _session(store, log) as session:
        plan = make_plan(config, session.state, recorded_resources(session.state), operations)
        began = time.monotonic()
        summary = executor.apply(
            plan,
            config,
            session,
            operations,
            emit=lambda _: None,
            control=RunControl(PARALLELISM),
        )
        applying = time.monotonic() - began
    cost = Cost(time.monotonic() - started, applying, Counter(store.requests))
    if summary.failed or len(read_state(StateStore(store, "k")).state.entries) != count:
        raise RuntimeError(f"{shape}: not all tools were created")
    return cost


def _session(store: FarStore, log: str) -> AbstractContextManager[Session]:
    return open_session(
        StateStore(store, "k", log=log),
        ObjectLocker(store),
        SessionOptions("apply", "me", "1"),
        lambda _: None,
    )


def ideal(shape: str, count: int = TOOLS) -> float:
    """Return the seconds that the provider calls take."""
    layers = -(-count // WIDTH) if shape == "dag" else 1
    return CALL * -(-(count // layers) // PARALLELISM) * layers


def main() -> None:
    """Measure both shapes, with a separate and an inline log, on a new and an existing state."""
    layers = TOOLS // WIDTH
    say(
        f"{TOOLS} tools, calls {CALL * 1000:g} ms, requests +{ADDED * 1000:g} ms, "
        f"parallelism {PARALLELISM}"
    )
    say(
        f"aims: flat {AIM} times the ideal {ideal('flat'):g} s (limit {LIMIT}), "
        f"dag {ADDED * 1000:g} ms more per layer"
    )
    say("applying / whole run, seconds")
    for log in ("beside", "inline"):
        for new in (True, False):
            flat, dag = (measure(shape, log=log, new=new) for shape in ("flat", "dag"))
            where = f"{log:<7}{'new  ' if new else 'known'}"
            more = (dag.applying - flat.applying) / layers * 1000
            say(
                f"  {where} flat {format_times(flat)}, "
                f"{flat.applying / ideal('flat'):.2f} times the ideal; {requests(flat)}"
            )
            say(
                f"  {where} dag  {format_times(dag)}, {more:.0f} ms more per layer; {requests(dag)}"
            )


def format_times(cost: Cost) -> str:
    """Format both times."""
    return f"{cost.applying:.2f} / {cost.whole:.2f}"


def requests(cost: Cost) -> str:
    """Format the number of requests of each kind."""
    return ", ".join(f"{number} {kind}s" for kind, number in cost.requests.items())


if __name__ == "__main__":
    main()
