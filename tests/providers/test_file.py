import os
import stat
from pathlib import Path

import pytest

from engine.address import Address
from engine.errors import ProviderError
from engine.options.decode import decode
from engine.ports import Call
from engine.state import Resource
from engine.values import UNKNOWN, Value
from providers import _local
from providers.file import FileOptions, FileProvider

PROVIDER = FileProvider()


def call(base: Path) -> Call:
    return Call(Address("file", "a"), base)


def make(base: Path, **options: str) -> Resource:
    return PROVIDER.create(FileOptions(**options), call(base))


def test_resource_records_mode_digest_and_size(tmp_path: Path) -> None:
    assert make(tmp_path, path="out.txt", content="hello, world") == Resource(
        "out.txt",
        {
            "mode": "0644",
            "sha256": "09ca7e4eaa6e8ae9c7d261167129184883644d07dfba7cbfbc4c8a2e08360d5b",
            "size": 12,
        },
        {
            "path": "out.txt",
            "sha256": "09ca7e4eaa6e8ae9c7d261167129184883644d07dfba7cbfbc4c8a2e08360d5b",
        },
    )


@pytest.mark.parametrize(
    "content", ["", "ä✓\n", "a\r\nb", "x" * 3_000_000], ids=["empty", "unicode", "crlf", "long"]
)
def test_content_is_written_unchanged(content: str, tmp_path: Path) -> None:
    make(tmp_path, path="out.txt", content=content)
    assert (tmp_path / "out.txt").read_bytes() == content.encode()


@pytest.mark.parametrize("mode", ["0600", "600", "0755", "0000", "4755"])
def test_mode_is_independent_of_the_umask(mode: str, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        made = make(tmp_path, path="out.txt", content="x", mode=mode)
    finally:
        os.umask(before)
    assert made.attributes["mode"] == f"{int(mode, 8):04o}"
    assert stat.S_IMODE((tmp_path / "out.txt").stat().st_mode) == int(mode, 8)


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("a.txt", "file:a.txt"),
        ("./a//b/../c", "file:a/c"),
        ("/x/y", "file:/x/y"),
        ("~/a", "file:~/a"),
        ("../up", "file:../up"),
    ],
)
def test_identity_is_the_normalized_path(path: str, identity: str) -> None:
    assert PROVIDER.identity(FileOptions(path=path, content="")) == identity


def test_home_is_expanded_on_create(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make(tmp_path / "elsewhere", path="~/a.txt", content="x").id == "~/a.txt"
    assert (tmp_path / "a.txt").read_text("utf-8") == "x"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "a"}, "set exactly one of content and source"),
        (
            {"path": "a", "content": "x", "source": "y"},
            "set exactly one of content and source",
        ),
        ({"path": "", "content": "x"}, 'option "path" must not be empty'),
        ({"path": "a", "content": "x", "mode": "0999"}, 'option "mode" must match ^[0-7]{3,4}$'),
        ({"path": "a", "content": "x", "mode": "rw"}, 'option "mode" must match ^[0-7]{3,4}$'),
    ],
)
def test_invalid_options_are_named(options: dict[str, Value], message: str) -> None:
    assert [fault.message for fault in decode(options, FileOptions, env={})[1]] == [message]


def test_digest_of_a_source_is_unknown_before_apply() -> None:
    assert PROVIDER.predict(FileOptions(path="a", source="b"), None) == {
        "path": "a",
        "sha256": UNKNOWN,
    }


def test_missing_source_fails_update_but_not_delete(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("x", "utf-8")
    options = FileOptions(path="out", source="source")
    made = PROVIDER.create(options, call(tmp_path))
    (tmp_path / "source").unlink()
    live = PROVIDER.read(options, made, call(tmp_path))
    assert live is not None
    assert live.attributes["source"] is None
    with pytest.raises(ProviderError, match=r"cannot read the source .*source: No such file"):
        PROVIDER.update(options, live, call(tmp_path))
    assert (tmp_path / "out").read_text("utf-8") == "x"
    PROVIDER.delete(options, live, call(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_existing_file_with_wanted_content_gets_the_mode(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("same", "utf-8")
    (tmp_path / "out").chmod(0o600)
    assert make(tmp_path, path="out", content="same").attributes["mode"] == "0644"


def test_create_does_not_overwrite_an_existing_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("theirs", "utf-8")
    with pytest.raises(ProviderError, match="exists and was not created by dtm") as refusal:
        make(tmp_path, path="out", content="ours")
    assert "choose another path" in refusal.value.hint
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == {"out": "theirs"}


@pytest.mark.parametrize("kind", ["directory", "symlink", "fifo"])
def test_irregular_file_is_neither_read_nor_replaced(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    (tmp_path / "target").write_text("theirs", "utf-8")
    if kind == "directory":
        path.mkdir()
    elif kind == "symlink":
        path.symlink_to("target")
    else:
        os.mkfifo(path)
    with pytest.raises(ProviderError, match="is not a regular file"):
        PROVIDER.read(FileOptions(path="out", content="x"), None, call(tmp_path))
    with pytest.raises(ProviderError, match="is not a regular file"):
        make(tmp_path, path="out", content="x")
    assert (tmp_path / "target").read_text("utf-8") == "theirs"


def test_path_below_a_file_is_absent_and_create_fails(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x", "utf-8")
    assert PROVIDER.read(FileOptions(path="a/b", content="x"), None, call(tmp_path)) is None
    with pytest.raises(ProviderError, match=r"cannot write .*a/b"):
        make(tmp_path, path="a/b", content="x")


def test_leftover_staging_file_is_removed_not_overwritten(tmp_path: Path) -> None:
    made = make(tmp_path, path="out", content="one")
    os.link(tmp_path / "out", tmp_path / ".out.dtm")
    reader = (tmp_path / "out").open("rb")
    PROVIDER.update(FileOptions(path="out", content="two"), made, call(tmp_path))
    with reader:
        assert reader.read() == b"one"
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == {"out": "two"}


def test_failed_update_keeps_the_old_file(tmp_path: Path) -> None:
    made = make(tmp_path, path="out", content="one")
    with pytest.raises(ProviderError, match="cannot read the source"):
        PROVIDER.update(FileOptions(path="out", source="absent"), made, call(tmp_path))
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == {"out": "one"}


def test_delete_keeps_the_directory(tmp_path: Path) -> None:
    made = make(tmp_path, path="deep/er/out", content="x")
    PROVIDER.delete(FileOptions(path="deep/er/out", content="x"), made, call(tmp_path))
    assert (tmp_path / "deep" / "er").is_dir()


@pytest.mark.parametrize("system_call", [True, False])
def test_rename_never_replaces_an_existing_file(
    system_call: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not system_call:
        monkeypatch.setattr(_local, "_load_renameat2", lambda: None)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("ours", "utf-8")
    _local.rename_without_replacing(source, target)
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == {"target": "ours"}
    source.write_text("ours again", "utf-8")
    with pytest.raises(FileExistsError):
        _local.rename_without_replacing(source, target)
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == {
        "target": "ours",
        "source": "ours again",
    }
