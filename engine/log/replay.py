"""A snapshot with the records of the log applied to it, in stored form."""

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
    """The parts that the next snapshot is made of.

    `claim` is that of the last session, `ended` when it ended in good order ("" if it did not),
    `count` how many records were applied.
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
        """Apply records in their order. Raises StateError for an operation of an unknown tool."""
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
            raise StateError(f"the commit log speaks of {record.key}, which is not in the state")
        return tool

    def _pending(self, record: Begin) -> Pending:
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
        pending = tool.pending or getattr(self.tools.get(record.key), "pending", None)
        return replace(tool, pending=pending and replace(pending, message=record.message))

    def _claim(self, record: Claim) -> None:
        self.claim, self.ended = record, ""
        self.lineage = self.lineage or record.lineage
        self.salt = self.salt or record.salt
        self.home = record.home

    def has_unfinished(self, session: str) -> bool:
        """Tell whether that session left an operation begun."""
        return any(tool.pending and tool.pending.session == session for tool in self.tools.values())

    @property
    def changed(self) -> bool:
        """Tell whether tools or outputs differ from the snapshot's."""
        return self.tools != self.snapshot.tools or self.outputs != self.snapshot.outputs

    def document(self) -> StateFile:
        """Return the snapshot with the records applied; id and serial are still the snapshot's."""
        return replace(
            self.snapshot,
            tools=self.tools,
            outputs=self.outputs,
            lineage=self.lineage,
            salt=self.salt,
            home=self.home,
            probe=self.probe,
        )

    def next_snapshot(self, document: str) -> StateFile:
        """Return the following snapshot, with the id `document`.

        It depends on the snapshot, the records and the id alone, so that every session that
        completes the same compaction writes the same bytes.
        """
        claim = self.claim
        written = WriterForm(self.ended or claim.at, claim.who, claim.command) if claim else None
        return replace(
            self.document(),
            id=document,
            serial=self.snapshot.serial + 1,
            dtm=claim.version if claim else self.snapshot.dtm,
            written=written,
        )

    def with_new_id(self, document: str) -> StateFile:
        """Return the document under a new id; where nothing was recorded the serial stays."""
        if self.changed:
            return self.next_snapshot(document)
        return replace(self.snapshot, id=document, probe=self.probe)
