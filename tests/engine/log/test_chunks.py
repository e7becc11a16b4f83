"""Moving records into a chunk: a head never names a chunk that may not exist."""

from __future__ import annotations

import pytest

from backends.memory import MemoryStore
from engine.address import Address
from engine.errors import DtmError
from engine.log.state_store import StateStore
from engine.plan import Action
from engine.ports import Version
from engine.runtime.environment import Environment, LogLimits
from engine.session.opening import open_session
from engine.session.reading import read_state
from engine.session.session import SessionOptions
from engine.state import StateEntry


class ChunklessStore(MemoryStore):
    """A store that fails in an unexpected way when a chunk is written."""

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """See `engine.ports.Store.write`."""
        if ".log.d/" in key:
            raise MemoryError("no room for a chunk")
        return super().write(key, data, expect=expect)


@pytest.mark.parametrize("background", [True, False])
def test_a_failed_chunk_write_loses_no_acknowledged_record(
    background: bool,
) -> None:
    store, acknowledged = ChunklessStore("chunkless"), 0
    environment = Environment(
        limits=LogLimits(chunk_after=2000, compact_after=10**9),
        background=background,
        save_fallback=lambda name, _data: name,
    )
    with (  # noqa: PT012 - any of these calls may raise
        pytest.raises((DtmError, MemoryError)),
        open_session(
            StateStore(store, "k", environment),
            None,
            SessionOptions("apply", "me", "1"),
            lambda _event: None,
        ) as session,
    ):
        session.claim()
        for number in range(60):
            address = Address("data", f"t{number}")
            session.begin(address, Action.CREATE, entry=StateEntry(address)).wait()
            session.done(address, StateEntry(address)).wait()
            acknowledged += 1
    assert 0 < acknowledged < 60
    assert (
        sum(
            entry.pending is None
            for entry in read_state(StateStore(store, "k")).state.entries.values()
        )
        >= acknowledged
    )
