import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.address import Address
from engine.errors import OutcomeUnknownError, ProviderError
from engine.options.decode import decode
from engine.ports import BY_ADDRESS, Call
from engine.state import Resource
from engine.values import UNKNOWN, UnknownValueError
from providers.command import CommandOptions, CommandProvider

PROVIDER = CommandProvider()
ADDRESS = Address("command", "a")
RECORDED = Resource("command.a", {"size": 1}, {"size": 1})


def test_programs_get_address_token_environment_and_record(tmp_path: Path) -> None:
    tell = 'echo "$0: $DTM_ADDRESS $DTM_TOKEN $MINE $(cat)" >> told'
    tools = CommandOptions(
        create=["sh", "-c", tell, "create"],
        update=["sh", "-c", tell, "update"],
        delete=["sh", "-c", tell, "delete"],
        env={"MINE": "yes"},
    )
    call = Call(ADDRESS, tmp_path, token="t1")
    made = PROVIDER.create(tools, call)
    PROVIDER.update(tools, RECORDED, call)
    PROVIDER.delete(tools, RECORDED, call)
    assert made == Resource("command.a")
    assert (tmp_path / "told").read_text("utf-8").splitlines() == [
        "create: command.a t1 yes null",
        'update: command.a t1 yes {"size":1,"id":"command.a","outputs":{"size":1}}',
        'delete: command.a t1 yes {"size":1,"id":"command.a","outputs":{"size":1}}',
    ]


def test_output_of_read_is_the_resource(tmp_path: Path) -> None:
    tools = CommandOptions(
        create="true", read="""echo '{"id": 7, "outputs": 1, "size": [1, {"a": null}]}'"""
    )
    assert PROVIDER.create(tools, Call(ADDRESS, tmp_path)) == Resource(
        "command.a", {"size": [1, {"a": None}]}, {"id": 7, "outputs": 1, "size": [1, {"a": None}]}
    )


@pytest.mark.parametrize(
    ("read", "message"),
    [
        ("echo '[1]'", "read must print a JSON object, but printed a list"),
        ("echo nonsense", "read must print a JSON object, but printed: nonsense"),
        ("echo '{\"a\": NaN}'", "read must print a JSON object, but printed: {"),
        ("echo lost >&2; exit 3", "read ended with exit code 3:\nlost"),
        ("kill -9 $$", "read ended with signal 9"),
        (["no-such-program"], "cannot run read: no-such-program: No such file or directory"),
    ],
)
def test_failed_or_invalid_read_raises(read: str | list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ProviderError) as error:
        PROVIDER.read(CommandOptions(create="true", read=read), RECORDED, Call(ADDRESS, tmp_path))
    assert error.value.message.startswith(message)


@pytest.mark.parametrize("printed", ["true", "echo", "printf ' \\n'"])
def test_read_without_output_means_gone(printed: str, tmp_path: Path) -> None:
    assert (
        PROVIDER.read(
            CommandOptions(create="true", read=printed), RECORDED, Call(ADDRESS, tmp_path)
        )
        is None
    )


def test_without_read_the_record_is_returned(tmp_path: Path) -> None:
    blind = CommandOptions(create="true")
    assert PROVIDER.read(blind, RECORDED, Call(ADDRESS, tmp_path)) is RECORDED
    assert PROVIDER.read(blind, None, Call(ADDRESS, tmp_path)) is None
    assert PROVIDER.identity(blind) is None
    assert PROVIDER.identity(CommandOptions(create="true", read="true")) == BY_ADDRESS


def test_create_fails_if_read_prints_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        ProviderError, match="the create command succeeded, but the read command printed nothing"
    ):
        PROVIDER.create(CommandOptions(create="true", read="true"), Call(ADDRESS, tmp_path))


def test_create_is_run_again_without_update(tmp_path: Path) -> None:
    PROVIDER.update(CommandOptions(create="echo again > log"), RECORDED, Call(ADDRESS, tmp_path))
    assert (tmp_path / "log").read_text("utf-8") == "again\n"


def test_failed_delete_is_ignored_only_if_resource_is_gone(tmp_path: Path) -> None:
    failing, call = "echo locked >&2; exit 1", Call(ADDRESS, tmp_path)
    PROVIDER.delete(CommandOptions(create="true", delete=failing, read="true"), RECORDED, call)
    for read in ("echo '{}'", None):
        with pytest.raises(ProviderError, match="delete ended with exit code 1:\nlocked"):
            PROVIDER.delete(
                CommandOptions(create="true", delete=failing, read=read), RECORDED, call
            )


def test_programs_run_in_cwd_which_must_exist(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    PROVIDER.create(CommandOptions(create="pwd > where", cwd="sub"), Call(ADDRESS, tmp_path))
    assert (tmp_path / "sub" / "where").read_text("utf-8").strip() == str(
        (tmp_path / "sub").resolve()
    )
    with pytest.raises(
        ProviderError, match=r"cannot run create: .*absent: No such file or directory"
    ):
        PROVIDER.create(CommandOptions(create="true", cwd="absent"), Call(ADDRESS, tmp_path))


def test_lines_are_reported_and_an_error_quotes_the_last_twenty(
    tmp_path: Path,
) -> None:
    lines: list[str] = []
    call = Call(ADDRESS, tmp_path, report=lambda text, _fraction=None: lines.append(text))
    with pytest.raises(ProviderError) as error:
        PROVIDER.create(
            CommandOptions(create="for i in $(seq 30); do echo $i; done; printf end >&2; exit 1"),
            call,
        )
    assert lines == [*map(str, range(1, 31)), "end"]
    assert error.value.message.splitlines() == [
        "create ended with exit code 1:",
        *map(str, range(12, 31)),
        "end",
    ]


def test_recorded_outputs_are_predicted_as_unknown() -> None:
    tools = CommandOptions(create="true", read="true")
    assert PROVIDER.predict(tools, None) == {}
    assert PROVIDER.predict(tools, RECORDED) == {"size": UNKNOWN}


def test_missing_programs_are_missing_requirements(tmp_path: Path) -> None:
    (tmp_path / "mine").touch(0o755)
    tools = CommandOptions(
        create=["mine"], read=["no-such"], update=["no-such", "x"], delete=["./made-later"]
    )
    assert PROVIDER.missing_requirements(tools) == [
        "mine is not installed",
        "no-such is not installed",
    ]
    assert (
        PROVIDER.missing_requirements(CommandOptions(create=["mine"], env={"PATH": str(tmp_path)}))
        == []
    )


@pytest.mark.parametrize("unknown", ["env", "PATH", "create"])
def test_unknown_options_are_not_missing_requirements(unknown: str) -> None:
    later: Any = UNKNOWN
    tools = CommandOptions(create=["no-such"], env={"PATH": "/bin"})
    changed = (
        {"env": later}
        if unknown == "env"
        else {"env": {"PATH": later}}
        if unknown == "PATH"
        else {"create": [later]}
    )
    with pytest.raises(UnknownValueError):
        PROVIDER.missing_requirements(msgspec.structs.replace(tools, **changed))


@pytest.mark.parametrize(
    "options", [{}, {"create": []}, {"create": ""}, {"create": "a", "cwd": ""}]
)
def test_invalid_options_are_refused(options: dict[str, Any]) -> None:
    assert decode(options, CommandOptions, env={})[1] != []


def test_large_record_does_not_block_a_program(tmp_path: Path) -> None:
    large = Resource("command.a", {"text": "x" * 1_000_000})
    PROVIDER.update(CommandOptions(create="true"), large, Call(ADDRESS, tmp_path))


def test_daemon_that_keeps_output_open_does_not_block(tmp_path: Path) -> None:
    begin = time.monotonic()
    PROVIDER.create(CommandOptions(create="sleep 30 & echo $! > pid"), Call(ADDRESS, tmp_path))
    os.kill(int((tmp_path / "pid").read_text("utf-8")), signal.SIGKILL)
    assert time.monotonic() - begin < 10


def has_ended(pid: int) -> bool:
    """Return whether the process has ended. In a container it may remain as a zombie."""
    with suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, 0)
        return (
            sys.platform == "linux"
            and Path(f"/proc/{pid}/stat").read_text("utf-8").split()[2] == "Z"
        )
    return True


@pytest.mark.parametrize("stubborn", ["", "trap '' TERM; "])
@pytest.mark.parametrize("why", ["its timeout expired", "the run was interrupted"])
def test_program_is_stopped_with_its_children(
    why: str, stubborn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers._process.guard.TERMINATE_GRACE", 0.2)
    ready, begin = tmp_path / "pids", time.monotonic()
    script = f"{stubborn}sleep 60 & echo $! $$ > pids; echo begun; wait"
    interrupted = why == "the run was interrupted"
    call = Call(
        ADDRESS,
        tmp_path,
        deadline=float("inf") if interrupted else begin + 0.5,
        cancelled=lambda: interrupted and ready.exists() and time.monotonic() - begin > 0.5,
    )
    with pytest.raises(OutcomeUnknownError, match=f"create was stopped because {why}:\nbegun"):
        PROVIDER.create(CommandOptions(create=script), call)
    assert time.monotonic() - begin < 10
    pids = [int(pid) for pid in ready.read_text("utf-8").split()]
    until = time.monotonic() + 5
    while not all(map(has_ended, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    assert [pid for pid in pids if not has_ended(pid)] == []


def test_stopped_read_has_a_known_outcome(tmp_path: Path) -> None:
    call = Call(ADDRESS, tmp_path, deadline=time.monotonic() + 0.1)
    with pytest.raises(ProviderError, match="read was stopped because its timeout expired"):
        PROVIDER.read(CommandOptions(create="true", read="sleep 60"), RECORDED, call)
