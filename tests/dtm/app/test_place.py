"""The choice of the place of a state, the settings that are refused, and the lock of a place."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest

from backends.lockers.object import ObjectLocker
from backends.memory import MemoryStore
from backends.url import FORMS, UrlForm
from dtm import plugins
from dtm.app import place
from dtm.plugins import Backends
from engine.config import LockSettings, SourceLocation, StateSettings
from engine.errors import ConfigError, PluginError, Problem, UsageError
from engine.options.fields import describe_options
from engine.ports import OpenedBackend
from engine.schema import Field, Options
from engine.values import Secret, Value


class Elsewhere(Options, frozen=True, kw_only=True):
    bucket: str
    key: str = "devstream.state"
    dynamodb_table: str = ""
    path_style: bool = False
    retries: int = 0
    token: Annotated[str, Field("", secret=True, env="ELSEWHERE_TOKEN")] = ""


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> dict[str, Value]:
    """Install a backend of another package, called `elsewhere`.

    Returns the options that it was opened with.
    """
    seen: dict[str, Value] = {}

    def open_backend(
        options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]
    ) -> OpenedBackend:
        seen.update(options)
        if options["bucket"] == "nowhere":
            raise ConfigError(
                (
                    Problem("bucket", "there is no such bucket"),
                    Problem("", "and no region", "set one"),
                )
            )
        store = MemoryStore(str(options["bucket"]))
        lockers = {"native": lambda: ObjectLocker(store)}
        table = (
            {"dynamodb": lambda: ObjectLocker(store, ".table")}
            if options.get("dynamodbTable")
            else {}
        )
        return OpenedBackend(store, str(options.get("key", "k")), {**lockers, **table}, lease=120.0)

    module = ModuleType("elsewhere_backend")
    module.__dict__.update(OPTIONS=Elsewhere, open_backend=open_backend)
    monkeypatch.setitem(sys.modules, "elsewhere_backend", module)
    found = Backends(lambda: [("elsewhere", "elsewhere_backend", "their-dist")])
    monkeypatch.setattr(plugins, "backends", lambda: found)
    return seen


def opened(
    tmp_path: Path, options: dict[str, Value], lock: LockSettings | None = None, **more: str
) -> place.Place:
    return place.open_place(
        StateSettings("elsewhere", options, lock or LockSettings()), tmp_path, more
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (StateSettings("gcs", {"bucket": "b"}), "state backend gcs is not part of this version"),
        (StateSettings("somewhere", {}), "there is no state backend somewhere"),
        (
            StateSettings("local", {}, LockSettings("dynamodb")),
            "state.lock.kind: dynamodb has no effect on a local state",
        ),
        (
            StateSettings("local", {}, LockSettings(url="dynamodb://t/x")),
            "state.lock.url has no effect on a local state",
        ),
        (StateSettings("local", {"stateFle": "x"}), 'option "stateFle" is unknown'),
        (
            StateSettings("memory", {}, LockSettings("both")),
            "state.lock.kind: both needs a lock that memfs:.* not have: dynamodb",
        ),
        (
            StateSettings("memory", {}, LockSettings("none", "dynamodb://t/x")),
            "state.lock.kind: none cannot be combined",
        ),
    ],
)
def test_settings_without_effect_are_refused(
    settings: StateSettings, message: str, tmp_path: Path
) -> None:
    with pytest.raises((UsageError, ConfigError, PluginError), match=message):
        place.open_place(settings, tmp_path, {})


def test_precedence_of_the_sources_of_a_state(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".dtm.yaml").write_text("state: file:///from/settings.state\n", "utf-8")
    env = {"HOME": str(home), "DTM_STATE": "env.state"}

    def chosen(flag: str, env: dict[str, str]) -> str:
        return str(place.choose_settings(flag, env, None, tmp_path)[0].options["stateFile"])

    assert chosen("flag.state", env) == str(tmp_path / "flag.state")
    assert chosen("", env) == str(tmp_path / "env.state")
    assert chosen("", {**env, "DTM_STATE": ""}) == "/from/settings.state"
    assert chosen("", {}) == str(tmp_path / "devstream.state")


def test_memory_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only for tests and the Python API"):
        place.settings_from_url("memfs://x", tmp_path)


def test_url_texts_are_converted_to_option_types(
    elsewhere: dict[str, Value], tmp_path: Path
) -> None:
    found = opened(
        tmp_path,
        {"bucket": "12", "pathStyle": "true", "retries": "3", "key": "007"},
        ELSEWHERE_TOKEN="t0ken",
    )
    assert elsewhere == {
        "bucket": "12",
        "pathStyle": True,
        "retries": 3,
        "key": "007",
        "token": "t0ken",
    }
    assert found.location == "memfs://12/007"
    assert "t0ken" not in repr(found)


def test_secrets_are_revealed_only_to_the_backend(
    elsewhere: dict[str, Value], tmp_path: Path
) -> None:
    opened(tmp_path, {"bucket": "b", "token": Secret("s3cret", ("env X",))})
    assert elsewhere["token"] == "s3cret"


def test_every_wrong_option_is_reported_with_its_line(
    elsewhere: dict[str, Value], tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "state:\n  backend: elsewhere\n  options:\n    bucket: nowhere\ntools: []\n", "utf-8"
    )
    settings = StateSettings(
        "elsewhere",
        {"bucket": "nowhere"},
        where=SourceLocation(str(config), 0, ("state",)),
        source="config",
    )
    with pytest.raises(ConfigError) as caught:
        place.open_place(settings, tmp_path, {})
    assert caught.value.problems == (
        Problem(f"{config}:4:13", "there is no such bucket"),
        Problem(f"{config}:4:5", "and no region", "set one"),
    )


def test_wrong_option_of_a_url_names_the_flag(elsewhere: dict[str, Value], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        place.open_place(
            StateSettings("elsewhere", {"retries": "many"}, source="--state"), tmp_path, {}
        )
    assert [(each.where, each.message) for each in caught.value.problems] == [
        ("--state", 'state: option "retries" must be an integer, not "many"'),
        ("--state", 'state: option "bucket" is required'),
    ]


@pytest.mark.parametrize(
    ("lock", "table", "kind", "lease"),
    [
        (LockSettings(), "", "native", 120.0),
        (LockSettings(), "locks", "dynamodb", 30.0),
        (LockSettings("native"), "locks", "native", 120.0),
        (LockSettings("native", lease=7.0), "", "native", 7.0),
        (LockSettings("dynamodb"), "locks", "dynamodb", 30.0),
        (LockSettings("both"), "locks", "both", 120.0),
        (LockSettings("none"), "locks", "none", 30.0),
        (LockSettings(url="dynamodb://t/ID"), "", "dynamodb", 30.0),
    ],
)
def test_kind_and_lease_of_the_lock(
    elsewhere: dict[str, Value],
    tmp_path: Path,
    lock: LockSettings,
    table: str,
    kind: str,
    lease: float,
) -> None:
    found = opened(tmp_path, {"bucket": "b", "dynamodbTable": table}, lock)
    assert found.lock_kind() == kind
    assert found.lease(kind) == lease


def test_locker_is_created_once(elsewhere: dict[str, Value], tmp_path: Path) -> None:
    found = opened(tmp_path, {"bucket": "b"})
    assert isinstance(found.locker("native"), ObjectLocker)
    assert found.locker("native") is found.locker("native")
    assert found.locker("none") is None


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_part_of_a_url_is_an_option(form: UrlForm) -> None:
    schema = plugins.backends().find(form.backend)
    if schema is None:
        assert form.backend in plugins.backends().unshipped()
    else:
        assert {*form.parts, *form.query, *(form.fixed or {})} <= {
            option.key for option in describe_options(schema.options)
        }


def test_lock_url_opens_a_separate_locker(
    monkeypatch: pytest.MonkeyPatch, elsewhere: dict[str, Value], tmp_path: Path
) -> None:
    table = ObjectLocker(MemoryStore("table"))
    asked: list[str] = []

    def open_locker(url: str, env: Mapping[str, str]) -> ObjectLocker:
        asked.append(url)
        return table

    monkeypatch.setattr("backends.aws.dynamodb.open_locker", open_locker)
    found = opened(tmp_path, {"bucket": "b"}, LockSettings(url="dynamodb://t/their/id"))
    assert found.locker(found.lock_kind()) is table and asked == ["dynamodb://t/their/id"]
