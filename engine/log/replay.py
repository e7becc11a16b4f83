"""Replaying the log: a snapshot with the records applied to it, in stored form."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from engine.errors import StateError
from engine.log.records import (
    Begin,
    Cancelled,
    Claim,
    Done,
    End,
    Failed,
    Moved,
    OutputsSet,
    Record,
)
from engine.state import Pending
from engine.stored.forms import ToolForm
from engine.stored.state_file import StateFile, WriterForm


class Replay:
    """The content of the next snapshot.

    `claim` is that of the last session. `ended` is when that session ended normally, "" if it did
    not. `count` is the number of records applied.
    """

    def __init__(self, snapshot: StateFile) -> None:
        self.snapshot = snapshot
        self.tools = dict(snapshot.tools)
        self.outputs = snapshot.outputs
        self.lineage, self.salt, self.home = snapshot.lineage, snapshot.salt, snapshot.home
        self.probe = snapshot.probe
        self.claim: Claim | None = None
        self.ended = ""
        self.count = 0

    def apply(self, records: Iterable[Record]) -> None:
        """Apply records in their order. Raises StateError if one refers to an unknown tool."""
        for record in records:
            self.count += 1
            match record:
                case Claim():
                    self._claim(record)
                case OutputsSet():
                    self.outputs = record.outputs
                case End():
                    self.ended = record.at
                case _:
                    self._change_tool(record)

    def _change_tool(self, record: Begin | Done | Failed | Cancelled | Moved) -> None:
        match record:
            case Begin():
                tool = replace(self._tool(record), pending=self._pending(record))
                self._put(record.key, tool)
            case Done():
                self._put(record.key, self._finished(record))
            case Failed():
                self._put(record.key, self._failed(record))
            case Cancelled():
                self._put(record.key, record.tool)
            case Moved():
                self.tools.pop(record.old, None)
                self._put(record.tool.key, record.tool)

    def _put(self, key: str, tool: ToolForm | None) -> None:
        if tool is None:
            self.tools.pop(key, None)
        else:
            self.tools[key] = tool

    def _tool(self, record: Begin | Done | Failed) -> ToolForm:
        tool = record.tool or self.tools.get(record.key)
        if tool is None:
            raise StateError(f"the commit log refers to {record.key}, which is not in the state")
        return tool

    def _pending(self, record: Begin) -> Pending:
        # A begin record does not repeat its session: it is that of the last claim.
        session = self.claim.session if self.claim else ""
        return Pending(
            record.action, record.since, session, record.seq, None, record.deadline, record.token
        )

    def _finished(self, record: Done) -> ToolForm | None:
        if record.tool is None and record.resource is None:
            return None
        tool = self._tool(record)
        return replace(tool, pending=None, resource=record.resource or tool.resource)

    def _failed(self, record: Failed) -> ToolForm:
        tool = self._tool(record)
        # The entry of a failed create comes without the operation; it must stay recorded as begun,
        # or the next run would take a partly created resource for a finished one.
        pending = tool.pending or getattr(self.tools.get(record.key), "pending", None)
        return replace(tool, pending=pending and replace(pending, message=record.message))

    def _claim(self, record: Claim) -> None:
        self.claim, self.ended = record, ""
        # Lineage and salt never change once they are set: recorded digests depend on the salt.
        self.lineage = self.lineage or record.lineage
        self.salt = self.salt or record.salt
        self.home = record.home

    def has_unfinished(self, session: str) -> bool:
        """Return whether that session left an operation unfinished."""
        return any(tool.pending and tool.pending.session == session for tool in self.tools.values())

    @property
    def changed(self) -> bool:
        """True if tools or outputs differ from those of the snapshot."""
        return self.tools != self.snapshot.tools or self.outputs != self.snapshot.outputs

    def state_file(self) -> StateFile:
        """Return the snapshot with the records applied; it keeps its ID and serial."""
        return replace(
            self.snapshot,
            tools=self.tools,
            outputs=self.outputs,
            lineage=self.lineage,
            salt=self.salt,
            home=self.home,
            probe=self.probe,
        )

    def next_snapshot(self, snapshot_id: str) -> StateFile:
        """Return the following snapshot, with the next serial and this ID."""
        claim = self.claim
        # No clock and no version of the running program: every session that finishes the same
        # compaction must write the same bytes, or the second one would meet a conflict.
        written = WriterForm(self.ended or claim.at, claim.who, claim.command) if claim else None
        return replace(
            self.state_file(),
            id=snapshot_id,
            serial=self.snapshot.serial + 1,
            dtm=claim.version if claim else self.snapshot.dtm,
            written=written,
        )

    def with_new_id(self, snapshot_id: str) -> StateFile:
        """Return the content under a new ID; without a recorded change the serial stays."""
        if self.changed:
            return self.next_snapshot(snapshot_id)
        return replace(self.snapshot, id=snapshot_id, probe=self.probe)
