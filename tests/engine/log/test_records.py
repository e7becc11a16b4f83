"""The values of the log: records, head, chunks, and applying records to a snapshot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import StateError
from engine.log.head import (
    Head,
    decode_chunk,
    decode_head,
    encode_chunk,
    encode_head,
    encode_line,
)
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
    decode_records,
    encode_records,
)
from engine.log.replay import Replay
from engine.state import Pending
from engine.stored.forms import ToolForm
from engine.stored.state_file import EMPTY_STATE_FILE

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(0, 2**40)
tools = st.builds(
    ToolForm,
    texts,
    texts,
    st.lists(texts, max_size=2),
    st.dictionaries(texts, texts, max_size=2),
    st.booleans(),
)
records: st.SearchStrategy[list[Record]] = st.lists(
    st.one_of(
        st.builds(Claim, *[texts] * 10),
        st.builds(Begin, numbers, texts, texts, texts, st.none() | texts, st.none() | tools, texts),
        st.builds(
            Done,
            numbers,
            texts,
            numbers,
            st.none() | tools,
            st.none() | st.dictionaries(texts, texts, max_size=2),
        ),
        st.builds(Failed, numbers, texts, numbers, texts, st.none() | tools),
        st.builds(Cancelled, numbers, texts, numbers, st.none() | tools),
        st.builds(Moved, numbers, texts, tools),
        st.builds(OutputsSet, numbers, st.dictionaries(texts, texts, max_size=2)),
        st.builds(End, texts),
    ),
    max_size=4,
)
heads = st.builds(
    Head,
    texts,
    texts,
    numbers,
    texts,
    texts,
    st.lists(texts, max_size=2).map(tuple),
    records.map(encode_records),
)

CLAIM = Claim("s", "t0", "me", "apply", "0.1", "lineage", "salt", "home")
PENDING = Pending("create", "then", "s", 1, None)


def tool(name: str, pending: Pending | None = None) -> ToolForm:
    return ToolForm(name, "i", [], {"n": name}, False, {"id": name, "outputs": {}}, pending)


def apply_records(*applied: Record) -> Replay:
    replay = Replay(EMPTY_STATE_FILE)
    replay.apply([CLAIM, *applied])
    return replay


@given(records)
def test_records_survive_encoding_and_decoding(found: list[Record]) -> None:
    assert decode_records(encode_records(found), "here") == found


@given(heads, records, records)
def test_a_head_is_decoded_with_its_appended_lines(
    head: Head, one: list[Record], two: list[Record]
) -> None:
    assert decode_head(encode_head(head), "here") == head
    grown = (
        encode_head(head)
        + encode_line(head.session, 8, "x", encode_records(one))
        + encode_line("s", 9, "y", encode_records(two))
    )
    found = decode_head(grown, "here")
    assert (found.seq, found.at, found.base, found.chunks) == (9, "y", head.base, head.chunks)
    assert decode_records(found.records, "here") == [
        *decode_records(head.records, "here"),
        *one,
        *two,
    ]


@given(heads, records)
def test_a_line_cut_off_anywhere_is_ignored(head: Head, more: list[Record]) -> None:
    whole, line = encode_head(head), encode_line(head.session, 8, "x", encode_records(more))
    for end in range(len(line) - 1):
        assert decode_head(whole + line[:end], "here") == head


@given(heads)
def test_a_chunk_holds_the_records_of_its_head(head: Head) -> None:
    assert decode_chunk(encode_chunk(head), "here") == head.records


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"{}\n", b'{"format": 7}\n', b"\xff\n", encode_head(Head("b", "s", 1)) + b"{}\n"],
)
def test_a_damaged_head_is_an_error_with_its_location(data: bytes) -> None:
    with pytest.raises(StateError) as caught:
        decode_head(data, "here")
    assert caught.value.where == "here"


def test_a_head_with_a_newer_format_is_refused() -> None:
    data = encode_head(Head("b", "s", 1)).replace(b'"format":1', b'"format":2')
    with pytest.raises(StateError, match="commit log has format 2"):
        decode_head(data, "here")


@pytest.mark.parametrize("data", [b"", b"[]", b"{"])
def test_a_damaged_chunk_is_an_error_with_its_location(data: bytes) -> None:
    with pytest.raises(StateError, match="commit log is damaged") as caught:
        decode_chunk(data, "here")
    assert caught.value.where == "here"


def test_begin_and_done_leave_a_finished_entry() -> None:
    begin = Begin(1, "a_i", "create", "then", tool=tool("a"))
    assert apply_records(begin).tools == {"a_i": tool("a", PENDING)}
    assert apply_records(begin, Done(2, "a_i", 1, tool("a"))).tools == {"a_i": tool("a")}
    assert apply_records(begin, Done(2, "a_i", 1, None, {"id": "r"})).tools["a_i"].resource == {
        "id": "r"
    }
    assert apply_records(begin, Done(2, "a_i", 1)).tools == {}


def test_a_begin_record_without_an_entry_keeps_the_current_one() -> None:
    done = apply_records(
        Begin(1, "a_i", "create", "then", tool=tool("a")), Done(2, "a_i", 1, tool("a"))
    )
    done.apply([Begin(1, "a_i", "create", "then")])
    assert done.tools == {"a_i": tool("a", PENDING)}


def test_a_failure_stays_unfinished_with_its_message() -> None:
    failed = apply_records(
        Begin(1, "a_i", "create", "then", tool=tool("a")), Failed(2, "a_i", 1, "no")
    )
    pending = failed.tools["a_i"].pending
    assert pending is not None and pending.message == "no" and pending.action == "create"


def test_cancelled_moved_and_outputs_records_are_applied() -> None:
    begin = Begin(1, "a_i", "create", "then", tool=tool("a"))
    assert apply_records(begin, Cancelled(2, "a_i", 1)).tools == {}
    assert apply_records(begin, Cancelled(2, "a_i", 1, tool("a"))).tools == {"a_i": tool("a")}
    assert apply_records(begin, Moved(2, "a_i", tool("b"))).tools == {"b_i": tool("b")}
    assert apply_records(OutputsSet(1, {"x": 1})).outputs == {"x": 1}


def test_next_snapshot_depends_only_on_snapshot_records_and_id() -> None:
    after = apply_records(OutputsSet(1, {"x": 1}), End("t1"))
    document = after.next_snapshot("new")
    assert (document.id, document.serial, document.lineage, document.salt, document.home) == (
        "new",
        1,
        "lineage",
        "salt",
        "home",
    )
    assert document.dtm == "0.1" and document.written is not None and document.written.at == "t1"
    again = apply_records(OutputsSet(1, {"x": 1}), End("t1")).next_snapshot("new")
    assert again == document
    later = Replay(document)
    later.apply([Claim("s2", "t2", "me", "apply", "0.2", "other", "pepper", "home")])
    assert (later.lineage, later.salt) == ("lineage", "salt") and not later.changed


def test_a_record_of_an_unknown_tool_is_damage() -> None:
    with pytest.raises(StateError, match="a_i"):
        apply_records(Begin(1, "a_i", "create", "then"))


def test_unfinished_operations_are_found_by_session() -> None:
    replay = apply_records(Begin(1, "a_i", "create", "then", tool=tool("a")))
    assert replay.has_unfinished("s") and not replay.has_unfinished("other")
