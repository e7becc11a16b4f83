"""Identities before anything runs: conflicts, secrets, and dtm's own files."""

from pathlib import Path

import pytest

from dtm.app import identities
from dtm.app.place import Place, choose_settings, open_place
from dtm.plugins import installed
from engine.errors import ConfigError
from engine.loading.loader import ConfigSource, load


def problems(
    folder: Path, text: str, place: Place | None = None, env: dict[str, str] | None = None
) -> list[str]:
    path = folder / "config.yaml"
    path.write_text(text, "utf-8")
    config = load(ConfigSource(path, env=env or {}, cwd=folder), installed())
    try:
        identities.check_identities(config, installed(), place)
    except ConfigError as error:
        return [f"{problem.where}: {problem.message}" for problem in error.problems]
    return []


def tools(*options: str) -> str:
    """One `data` tool, and one tool a line for each `NAME PATH`."""
    lines = ["tools:", "- {name: data, instanceID: d, options: {input: x}}"]
    for number, option in enumerate(options):
        name, path = option.split(" ", 1)
        content = ", content: x" if name == "file" else ""
        lines.append(
            f"- {{name: {name}, instanceID: i{number}, options: {{path: {path}{content}}}}}"
        )
    return "\n".join(lines) + "\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def test_duplicate_identity_names_both_places(folder: Path) -> None:
    assert problems(folder, tools("file a", "file b", "file ./a", "file a", "file sub/../b")) == [
        "config.yaml:5:3: file/i2 manages the same resource (file:a) as file/i0 at config.yaml:3:3",
        "config.yaml:6:3: file/i3 manages the same resource (file:a) as file/i0 at config.yaml:3:3",
        "config.yaml:7:3: file/i4 manages the same resource (file:b) as file/i1 at config.yaml:4:3",
    ]


def test_file_and_directory_at_one_path_conflict(folder: Path) -> None:
    assert problems(folder, tools("file out", "directory out/")) == [
        "config.yaml:4:3: directory/i1 manages the same resource (directory:out) "
        "as file/i0 at config.yaml:3:3"
    ]


@pytest.mark.parametrize(
    ("one", "other"), [("{}/out/a", "out/a"), ("~/a", "home/a"), ("~/a", "{}/home/x/../a")]
)
def test_paths_are_compared_by_their_targets(folder: Path, one: str, other: str) -> None:
    assert (
        len(problems(folder, tools(f"file {one.format(folder)}", f"file {other.format(folder)}")))
        == 1
    )


def test_different_and_unknown_identities_do_not_conflict(folder: Path) -> None:
    path = "path: '${{ data.d.outputs.output }}'"
    unknown = f"- {{name: file, instanceID: r, options: {{{path}, content: x}}}}\n"
    same = unknown.replace("instanceID: r", "instanceID: s")
    command = "- {name: command, instanceID: c, options: {create: [a]}}\n"
    commands = command + command.replace("instanceID: c", "instanceID: e")
    assert (
        problems(
            folder, tools("file out/a", "directory out", "file out/b") + unknown + same + commands
        )
        == []
    )


def test_identity_with_a_secret_is_not_shown(folder: Path) -> None:
    found = problems(
        folder, tools("file '[[ env T ]].txt'", "file '[[ env T ]].txt'"), env={"T": "s3cret-name"}
    )
    assert (
        found[0]
        == "config.yaml:4:3: file/i1 manages the same resource as file/i0 at config.yaml:3:3"
    )
    assert "s3cret-name" not in "".join(found)


OWN = [
    "devstream.state",
    "./devstream.state",
    "devstream.state.log",
    "devstream.state.log.d/x",
    "devstream.state.history/0001",
    ".devstream.state.lock",
    ".devstream.state.lock.info",
    ".dtm.swap",
    ".devstream/home",
    "link/devstream.state",
]


@pytest.mark.parametrize("path", OWN)
def test_paths_of_dtm_are_refused(folder: Path, path: str) -> None:
    (folder / "link").symlink_to(folder)
    place = open_place(choose_settings("", {}, None, folder)[0], folder, {})
    identity = f"file:{path.removeprefix('./')}"
    expected = f"config.yaml:3:3: file/i0 would use a path of dtm's own files ({identity})"
    assert problems(folder, tools(f"file {path}"), place) == [expected]
    assert (
        problems(
            folder,
            tools("file out/devstream.state", "file devstream.state.txt", "file .devstreams/home"),
            place,
        )
        == []
    )


def test_only_the_used_state_is_reserved(folder: Path) -> None:
    place = open_place(
        choose_settings(f"file://{folder}/sub/my.state", {}, None, folder)[0], folder, {}
    )
    found = problems(
        folder,
        tools("directory sub", "directory sub/my.state.history", "file devstream.state"),
        place,
    )
    assert found == [
        "config.yaml:4:3: directory/i1 would use a path of dtm's own files "
        "(directory:sub/my.state.history)"
    ]


def test_secret_in_an_identity_is_refused(folder: Path) -> None:
    found = problems(folder, tools("file 'out/[[ env T ]].txt'"), env={"T": "SECRETtok123"})
    assert found == [
        "config.yaml:3:3: file/i0 has a secret in its name, "
        "and the state stores names in plain text"
    ]
