"""The debug log: what is logged of stores, locks, providers and plans, and what never is."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from backends.aws import s3
from backends.local import store as local
from backends.lockers.object import ObjectLocker
from backends.memory import AppendingMemoryStore, MemoryStore
from dtm.app.debug_log import DebugLog, open_log
from dtm.app.logged_ports import LoggedProvisioner, LoggedStore, logged_locker, logged_store
from dtm.app.place import open_place
from engine.address import Address
from engine.config import StateSettings
from engine.errors import (
    ConflictError,
    LockHeldError,
    OutcomeUnknownError,
    ProviderError,
    StoreUnavailableError,
    UsageError,
)
from engine.events import Event, Notice, Retrying
from engine.lock import LockInfo
from engine.plan import Action, Change, FieldChange, Plan, Reason
from engine.ports import AppendStore, OpenedBackend, ProcessLocker, StoredObject
from engine.secrets.redaction import Redactor
from engine.state import StateId
from engine.values import Secret, Value
from tests.servers.aws import Cloud

CANARY = "canary-s3cret\nsecond line"
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ (.*) pid=\d+")
INFO = LockInfo("id-1", "apply", "me@laptop", "0.1.0", "2026-11-30T12:00:00Z", "memfs://")
ADDRESS = Address("file", "a")


class Log:
    """A log in a file, and its lines without times, levels and durations."""

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.path = folder / "dtm.log"
        self.redactor = Redactor()
        settings = {"DTM_LOG": "debug", "DTM_LOG_PATH": str(self.path), **(env or {})}
        self.log: DebugLog = open_log(settings, folder, self.redactor)

    @property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @property
    def lines(self) -> list[str]:
        found = [LINE.fullmatch(line) for line in self.text.splitlines()]
        assert all(found), self.text
        return [re.sub(r"\d+\.\d ms", "N ms", match[1]) for match in found if match]

    def levels(self) -> list[str]:
        return [line.split()[1] for line in self.text.splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


@pytest.fixture(params=["memory", "local", "s3"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenedBackend]:
    if request.param == "memory":
        store = AppendingMemoryStore()
        yield OpenedBackend(store, "state", {"native": lambda: ObjectLocker(store)})
    elif request.param == "local":
        yield local.open_backend({"stateFile": "state"}, tmp_path, {})
    else:
        cloud: Cloud = request.getfixturevalue("cloud")
        yield s3.open_backend(cloud.fresh("state"), tmp_path, {})


def test_each_store_logs_every_request(opened: OpenedBackend, log: Log) -> None:
    store = logged_store(opened.store, log.log)
    key = opened.key
    assert store.location == opened.store.location
    assert store.read(key) is None
    first = store.write(key, b"one", expect=None)
    with pytest.raises(ConflictError) as refused:
        store.write(key, b"two", expect=None)
    assert store.read(key) == StoredObject(b"one", first)
    assert list(store.list(key)) == [key]
    store.delete(key)
    assert log.lines == [
        f"store read {key} N ms absent",
        f"store write {key} N ms version={first} bytes=3 expected=None",
        f"store write {key} N ms conflict expected=None found={refused.value.actual}",
        f"store read {key} N ms version={first} bytes=3",
        f"store list {key} N ms ok keys=1",
        f"store delete {key} N ms ok",
    ]


def test_each_locker_logs_every_request(opened: OpenedBackend, log: Log) -> None:
    for make in opened.lockers.values():
        locker = logged_locker(make, log.log)()
        assert locker.read(opened.key) is None
        mine = locker.put(opened.key, INFO, expect=None)
        assert locker.read(opened.key) == mine
        locker.remove(opened.key, expect=mine)
        record = f"version={mine.version} id=id-1 by=me@laptop"
        assert log.lines[-4:] == [
            f"lock read {opened.key} N ms absent",
            f"lock put {opened.key} N ms {record}",
            f"lock read {opened.key} N ms {record}",
            f"lock remove {opened.key} N ms ok",
        ]
    assert len(log.lines) == 4 * len(opened.lockers) > 0


def test_wrappers_keep_optional_methods(tmp_path: Path, log: Log) -> None:
    plain, appending = MemoryStore(), AppendingMemoryStore()
    assert not isinstance(logged_store(plain, log.log), AppendStore)
    store = logged_store(appending, log.log)
    assert isinstance(store, AppendStore)
    version = store.append("k", b"two", expect=store.write("k", b"one", expect=None))
    assert store.read("k") == StoredObject(b"onetwo", version)
    assert f"store append k N ms version={version} bytes=3 expected=1" in log.lines

    assert not isinstance(logged_locker(lambda: ObjectLocker(plain), log.log)(), ProcessLocker)
    make = local.open_backend({"stateFile": "state"}, tmp_path, {}).lockers["native"]
    locker = logged_locker(make, log.log)()
    assert isinstance(locker, ProcessLocker)
    mine = locker.put("state", INFO, expect=None)
    assert locker.dead_holder("state") is None
    locker.remove("state", expect=mine, dead_holder=None)
    assert log.lines[-1] == "lock remove state N ms ok"


def test_lock_of_another_holder_is_logged(log: Log) -> None:
    store = MemoryStore()
    locker = logged_locker(lambda: ObjectLocker(store), log.log)()
    locker.put("k", INFO, expect=None)
    with pytest.raises(LockHeldError):
        locker.put("k", replace(INFO, id="id-2"), expect=None)
    assert log.lines[-1].startswith("lock put k N ms held by=me@laptop version=")


class FailingStore(MemoryStore):
    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)

    def read(self, key: str) -> StoredObject | None:
        if self.errors:
            raise self.errors.pop(0)
        return super().read(key)


def test_failed_request_and_its_retry_are_logged(log: Log) -> None:
    store = logged_store(
        FailingStore(StoreUnavailableError("busy"), StoreUnavailableError("busy")), log.log
    )
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            store.read("k")
    for _ in range(2):
        store.read("k")
    assert log.lines == [
        "store read k N ms StoreUnavailableError: busy",
        "store read k N ms StoreUnavailableError: busy try=2",
        "store read k N ms absent try=3",
        "store read k N ms absent",
    ]
    assert log.levels() == ["WARNING", "WARNING", "DEBUG", "DEBUG"]


def test_creation_of_a_place_is_logged(log: Log) -> None:
    class Bucket:
        def missing(self) -> list[str]:
            return ["bucket b"]

        def create(self) -> list[str]:
            raise OutcomeUnknownError("no answer")

        def policy(self) -> str:
            return "{}"

    provisioner = LoggedProvisioner(Bucket(), "s3://b/k", log.log)
    assert (provisioner.missing(), provisioner.policy()) == (["bucket b"], "{}")
    with pytest.raises(OutcomeUnknownError):
        provisioner.create()
    assert log.lines == [
        "place missing s3://b/k N ms ok things=1",
        "place create s3://b/k N ms OutcomeUnknownError: no answer",
    ]


def fail(error: Exception) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (ProviderError("quota", retryable=True), "WARNING"),
        (ProviderError("refused"), "ERROR"),
        (KeyError("id"), "ERROR"),
        (KeyboardInterrupt(), "INFO"),
    ],
)
def test_provider_calls_are_logged(error: Exception, level: str, log: Log) -> None:
    log.log.observe(ADDRESS, "read", lambda: None)
    log.log.observe(ADDRESS, "create", lambda: object())
    with pytest.raises(type(error)):
        log.log.observe(ADDRESS, "update", fail(error))
    assert log.lines == [
        "provider read file.a N ms absent",
        "provider create file.a N ms ok",
        f"provider update file.a N ms {type(error).__name__}: {error}",
    ]
    assert log.levels() == ["DEBUG", "INFO", level]


def test_decisions_name_fields_and_never_values(log: Log) -> None:
    fields = (
        FieldChange(("content",), "old-value", "new-value"),
        FieldChange(("labels", 0, "name"), CANARY, "new-value"),
    )
    changes = (
        Change(ADDRESS, Action.UPDATE, Reason.CHANGED, fields=fields, after={"content": "x-value"}),
        Change(Address("data", "b"), Action.MOVE, Reason.RENAMED, previous=ADDRESS),
        Change(Address("data", "c"), Action.KEEP, Reason.UNCHANGED, rewrite=True),
    )
    log.log.plan(Plan(StateId("lineage", 1), "digest", changes))
    assert log.lines == [
        "plan update file.a reason=changed fields=content,labels.0.name",
        "plan move data.b reason=renamed previous=file.a",
        "plan keep data.c reason=unchanged rewrite",
    ]
    assert log.levels() == ["INFO", "INFO", "DEBUG"]
    assert "value" not in log.text


def test_retries_and_notices_are_logged_and_passed_on(log: Log) -> None:
    seen: list[object] = []
    emit = log.log.listen(seen.append)
    events: list[Event] = [
        Retrying(ADDRESS, Action.CREATE, 1, 2.5, "quota"),
        Notice("warning", "careful", where="file/a"),
    ]
    for event in events:
        emit(event)
    assert seen == events
    assert log.lines == ["retry create file.a try=2 in 2.5 s: quota", "notice file/a: careful"]


def test_secrets_are_redacted_wherever_they_appear(tmp_path: Path) -> None:
    log = Log(tmp_path, {"SHOP_PASSWORD": "env-canary", "AWS_SECRET_ACCESS_KEY": "aws-canary"})
    log.redactor.add(Secret(CANARY, ("env CANARY",)))
    log.log.learn(Secret("backend-canary", ()))
    store = logged_store(FailingStore(StoreUnavailableError(f"403 {CANARY}")), log.log)
    with pytest.raises(StoreUnavailableError):
        store.read("k")
    store.read("canary-s3cret/k env-canary aws-canary backend-canary")
    with pytest.raises(ValueError, match="canary"):
        log.log.observe(ADDRESS, "create", fail(ValueError(repr(CANARY))))
    log.log.listen(lambda _event: None)(Notice("error", f"token {CANARY}"))
    assert "canary" not in log.text
    assert log.text.count("(sensitive)") >= 7


def test_secrets_of_the_backend_are_redacted(tmp_path: Path, log: Log) -> None:
    options: dict[str, Value] = {
        "bucket": "b",
        "key": "k",
        "region": "eu-west-1",
        "accessKey": "AKIDCANARY",
        "secretKey": "canary-key",
    }
    place = open_place(StateSettings("s3", options), tmp_path, {}, log.log)
    assert isinstance(place.store, LoggedStore)
    log.log.start(f"{place.location} AKIDCANARY canary-key", "config")
    assert "state=s3://b/k (sensitive) (sensitive)" in log.text


def test_one_record_is_one_line(log: Log) -> None:
    logged_store(MemoryStore(), log.log).read("a\nb\x1b[31m\udc80")
    assert log.lines == [r"store read a\nb\x1b[31m\udc80 N ms absent"]


@pytest.mark.parametrize(("level", "lines"), [("INFO", 1), ("warning", 0), ("error", 0)])
def test_level_selects_the_lines(level: str, lines: int, tmp_path: Path) -> None:
    log = Log(tmp_path, {"DTM_LOG": level})
    logged_store(MemoryStore(), log.log).read("k")
    log.log.observe(ADDRESS, "create", lambda: object())
    assert len(log.lines) == lines


def test_new_file_is_private_and_old_one_is_extended(tmp_path: Path) -> None:
    log = Log(tmp_path)
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    log.log.start("memfs://", "")
    log.path.chmod(0o640)
    Log(tmp_path).log.start("memfs://", "--state")
    assert len(log.lines) == 2
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o640


def test_relative_path_starts_in_the_working_directory(tmp_path: Path) -> None:
    Log(tmp_path, {"DTM_LOG_PATH": "other.log"}).log.start("memfs://", "")
    assert "state=memfs:// chosen-by=default" in (tmp_path / "other.log").read_text("utf-8")


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"DTM_LOG": "loud"}, 'DTM_LOG: "loud" is not a level: expected debug, info, warning'),
        ({"DTM_LOG_PATH": "absent/dtm.log"}, "DTM_LOG_PATH: cannot write {0}/absent/dtm.log: No"),
        ({"DTM_LOG_PATH": "."}, "DTM_LOG_PATH: cannot write {0}: Is a directory"),
    ],
)
def test_wrong_variable_is_named(env: Mapping[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        Log(tmp_path, env)
    assert refused.value.message.startswith(message.format(tmp_path))
    assert refused.value.hint


def test_log_goes_to_stderr_by_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_log({"DTM_LOG": "info"}, tmp_path, Redactor()).start("memfs://", "")
    written = capsys.readouterr()
    assert LINE.fullmatch(written.err.strip())
    assert written.out == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_ends_the_log_and_not_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = open_log({"DTM_LOG": "info", "DTM_LOG_PATH": "/dev/full"}, tmp_path, Redactor())
    for _ in range(3):
        assert log.observe(ADDRESS, "create", lambda: 1) == 1
    assert capsys.readouterr().err == (
        "dtm: cannot write to DTM_LOG_PATH, the log ends: No space left on device\n"
    )


def test_two_processes_append_to_one_file(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from dtm.app.debug_log import open_log\n"
        "from engine.secrets.redaction import Redactor\n"
        "env = {'DTM_LOG': 'info', 'DTM_LOG_PATH': 'dtm.log'}\n"
        "log = open_log(env, Path(sys.argv[1]), Redactor())\n"
        "for number in range(300): log.start('x' * 5000, str(number))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    processes = [subprocess.Popen(command, env=os.environ) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    lines = (tmp_path / "dtm.log").read_text("utf-8").splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    assert len(lines) == 600
