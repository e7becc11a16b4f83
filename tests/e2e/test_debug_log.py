"""The debug log of real commands: complete, without secrets, and not even imported while off."""

import re
import subprocess
import sys

import pytest

from tests.e2e.conftest import TWO, Runner, Write

SECRETS = """\
variables:
  password: {type: string, sensitive: true}
tools:
- name: command
  instanceID: login
  options:
    create: printf '{"token":"%s","url":"https://u:%s@host"}' "$T" "$T" > made.json
    read: cat made.json 2> /dev/null || true
    delete: rm made.json
    env: {T: "[[ env T ]]"}
- name: command
  instanceID: broken
  dependsOn: [command.login]
  options:
    create: echo "denied to $P with $T" >&2; exit 1
    env: {P: "my-[[ password ]]", T: "${{ command.login.outputs.token }}"}
"""
CANARIES = {"T": "canary-token", "DTM_VAR_password": "canary-password", "DTM_LOG": "debug"}


def logged(dtm: Runner) -> str:
    return (dtm.folder / "dtm.log").read_text("utf-8")


def test_apply_logs_requests_calls_and_decisions(dtm: Runner, config: Write) -> None:
    config(TWO)
    dtm("apply", "-y", env={"DTM_LOG": "debug", "DTM_LOG_PATH": "dtm.log"})
    text = re.sub(r"\d+\.\d ms", "N ms", logged(dtm))
    for line in (
        f"INFO start dtm=0.1.0 python={sys.version.split()[0]} system={sys.platform} state=file://",
        "DEBUG lock put devstream.state N ms version=",
        "DEBUG store read devstream.state N ms absent",
        "INFO plan create data.a reason=new",
        "INFO provider create data.b N ms ok",
        "DEBUG store write devstream.state.log N ms version=",
        "DEBUG lock remove devstream.state N ms ok",
    ):
        assert f"Z {line}" in text


def test_plan_and_drift_log_their_decisions(dtm: Runner, config: Write) -> None:
    config(TWO)
    dtm("apply", "-y")
    config(TWO.replace("hello", "goodbye"))
    output = dtm("plan", env={"DTM_LOG": "info"})
    assert "INFO plan update data.a reason=changed fields=input" in output
    assert "goodbye" not in "".join(line for line in output.splitlines() if " pid=" in line)
    assert "DEBUG plan keep data.a reason=unchanged" in dtm("drift", env={"DTM_LOG": "debug"})


def test_no_secret_of_a_run_is_logged(dtm: Runner, config: Write) -> None:
    config(SECRETS)
    env = {**CANARIES, "DTM_LOG_PATH": "dtm.log"}
    dtm("apply", "-y", code=1, env=env)
    dtm("plan", env=env)
    dtm("drift", env=env)
    dtm("destroy", "-y", env=env)
    text = logged(dtm)
    assert "ERROR provider create command.broken" in text
    assert "(sensitive)" in text
    assert "canary" not in text


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"DTM_LOG": "loud"}, 'DTM_LOG: "loud" is not a level'),
        ({"DTM_LOG": "info", "DTM_LOG_PATH": "no/x.log"}, "DTM_LOG_PATH: cannot write"),
    ],
)
def test_wrong_variable_stops_the_command(
    env: dict[str, str], message: str, dtm: Runner, config: Write
) -> None:
    config(TWO)
    assert message in dtm("apply", "-y", code=1, env=env)
    assert not (dtm.folder / "devstream.state").exists()


@pytest.mark.parametrize("setting", ["", "info"])
def test_logging_is_imported_only_for_the_log(setting: str, dtm: Runner, config: Write) -> None:
    config(TWO)
    script = (
        "import sys; from dtm.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('logging' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "plan", "-q"],
        cwd=dtm.folder,
        env={**dtm.env, "DTM_LOG": setting},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == str(bool(setting))
