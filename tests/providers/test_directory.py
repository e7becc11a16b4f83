from pathlib import Path

import pytest

from engine.address import Address
from engine.errors import ProviderError
from engine.ports import Call
from engine.state import Resource
from providers.directory import DirectoryOptions, DirectoryProvider

PROVIDER = DirectoryProvider()


def call(base: Path) -> Call:
    return Call(Address("directory", "a"), base)


def test_resource_records_the_mode(tmp_path: Path) -> None:
    made = PROVIDER.create(DirectoryOptions(path="a/./b", mode="0700"), call(tmp_path))
    assert made == Resource("a/b", {"mode": "0700"}, {"path": "a/b"})
    assert (tmp_path / "a" / "b").is_dir()


def test_empty_directory_is_adopted(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(0o700)
    assert PROVIDER.create(DirectoryOptions(path="out"), call(tmp_path)).attributes == {
        "mode": "0755"
    }


@pytest.mark.parametrize(
    ("names", "listed"),
    [(["a"], "a"), (["c", "a", "b"], "a, b, c"), (["a", "b", "c", "d", "e"], "a, b, c and 2 more")],
)
def test_directory_with_content_is_not_deleted(
    names: list[str], listed: str, tmp_path: Path
) -> None:
    options = DirectoryOptions(path="out")
    made = PROVIDER.create(options, call(tmp_path))
    for name in names:
        (tmp_path / "out" / name).touch()
    with pytest.raises(ProviderError, match=rf"is not empty \(it contains {listed}\)$"):
        PROVIDER.delete(options, made, call(tmp_path))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)


@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_path_that_is_not_a_directory_is_refused(kind: str, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path = tmp_path / "out"
    if kind == "file":
        path.touch()
    else:
        path.symlink_to("real")
    with pytest.raises(ProviderError, match="is not a directory"):
        PROVIDER.read(DirectoryOptions(path="out"), None, call(tmp_path))
    with pytest.raises(ProviderError, match="exists and was not created by dtm"):
        PROVIDER.create(DirectoryOptions(path="out"), call(tmp_path))
    assert path.exists()


def test_failed_create_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(ProviderError, match=r"cannot create .*a/b: "):
        PROVIDER.create(DirectoryOptions(path="a/b"), call(tmp_path))
