"""Locks that dtm and Terraform share, in a table and as `.tflock`; each can break the other's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backends.aws import s3
from engine.errors import LockHeldError
from engine.lock import LockInfo, format_timestamp
from engine.ports import Locker, OpenedBackend
from engine.session.locking import break_lock
from tests.servers.dynamodb import Dynamo
from tests.servers.real import Terraform
from tests.servers.rgw import Rgw

CONFIG = """\
terraform {{
  backend "s3" {{
    bucket                      = "{bucket}"
    key                         = "{key}"
    region                      = "{region}"
    access_key                  = "{access_key}"
    secret_key                  = "{secret_key}"
    endpoints                   = {{ s3 = "{s3}", dynamodb = "{dynamodb}" }}
    use_path_style              = true
    skip_credentials_validation = true
    skip_requesting_account_id  = true
    skip_metadata_api_check     = true
    skip_region_validation      = true
    skip_s3_checksum            = true
    {lock}
  }}
}}

resource "terraform_data" "held" {{
  provisioner "local-exec" {{
    command = "touch started; while [ ! -e go ]; do sleep 0.05; done"
  }}
}}
"""
TOOLS = """\
tools:
- name: command
  instanceID: held
  options: {create: "touch started; while [ ! -e go ]; do sleep 0.05; done"}
"""
LOCKS = {"dynamodb": 'dynamodb_table = "{table}"', "native": "use_lockfile = true"}
PATIENCE = 30.0


class Project:
    """A Terraform project, and the same place for dtm."""

    def __init__(
        self, folder: Path, kind: str, rgw: Rgw, dynamodb: Dynamo, terraform: Terraform
    ) -> None:
        self.folder, self.kind, self.terraform = folder, kind, terraform
        self.key = f"{uuid.uuid4()}/state"
        self.bucket = rgw.plain
        self.options = {
            "bucket": rgw.plain,
            "key": self.key,
            "region": rgw.region,
            "endpoint": rgw.endpoint,
            "accessKey": rgw.access_key,
            "secretKey": rgw.secret_key,
            "dynamodbTable": dynamodb.table,
            "dynamodbEndpoint": dynamodb.endpoint,
        }
        if kind == "native":
            del self.options["dynamodbTable"], self.options["dynamodbEndpoint"]
        text = CONFIG.format(
            bucket=rgw.plain,
            key=self.key,
            region=rgw.region,
            access_key=rgw.access_key,
            secret_key=rgw.secret_key,
            s3=rgw.endpoint,
            dynamodb=dynamodb.endpoint,
            lock=LOCKS[kind].format(table=dynamodb.table),
        )
        (folder / "main.tf").write_text(text)
        (folder / "empty.tfrc").touch()
        state = {"backend": "s3", "options": self.options, "lock": {"kind": kind}}
        (folder / "config.yaml").write_text(f"state: {json.dumps(state)}\n{TOOLS}")

    def opened(self) -> OpenedBackend:
        return s3.open_backend(self.options, self.folder, {})

    def locker(self) -> Locker:
        return self.opened().lockers[self.kind]()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        quiet = {
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
            "HOME": str(self.folder),
            "TF_CLI_CONFIG_FILE": str(self.folder / "empty.tfrc"),
        }
        colours = [] if arguments[0] == "force-unlock" else ["-no-color"]  # it has no such option
        return subprocess.Popen(
            [self.terraform.path, *arguments, *colours],
            cwd=self.folder,
            env={**os.environ, **quiet},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        with self.start(*arguments) as process:
            text, _ = process.communicate(timeout=PATIENCE)
            return process.returncode, text

    def start_dtm(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "dtm", *arguments],
            cwd=self.folder,
            text=True,
            env={**os.environ, "HOME": str(self.folder), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def dtm(self, *arguments: str) -> tuple[int, str]:
        with self.start_dtm(*arguments) as process:
            text, _ = process.communicate(timeout=PATIENCE)
            return process.returncode, text

    @contextmanager
    def working(self, process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
        """Yield the process once it runs and holds the lock. It ends when the file `go` exists."""
        with process:
            try:
                deadline = time.monotonic() + PATIENCE
                while not (self.folder / "started").exists():
                    assert process.poll() is None and time.monotonic() < deadline, (
                        process.communicate()[0]
                    )
                    time.sleep(0.02)
                yield process
            finally:
                (self.folder / "go").touch()
                process.wait(PATIENCE)

    def terraform_at_work(self) -> AbstractContextManager[subprocess.Popen[str]]:
        return self.working(self.start("apply", "-auto-approve", "-input=false"))

    def dtm_at_work(self) -> AbstractContextManager[subprocess.Popen[str]]:
        return self.working(self.start_dtm("apply", "-y"))


@pytest.fixture(params=list(LOCKS))
def project(
    request: pytest.FixtureRequest, tmp_path: Path, rgw: Rgw, dynamodb: Dynamo, terraform: Terraform
) -> Project:
    project = Project(tmp_path, request.param, rgw, dynamodb, terraform)
    status, text = project.run("init", "-input=false")
    assert status == 0, text
    return project


def ours() -> LockInfo:
    """Return a lock of dtm, with the two fields that Terraform does not have."""
    now = format_timestamp(datetime.now(UTC))
    return LockInfo(
        str(uuid.uuid4()),
        "apply",
        "alice@laptop",
        "0.1.0",
        now,
        "state",
        "dtm apply",
        lease=30.0,
        renewed=now,
    )


def test_dtm_reads_and_breaks_a_lock_of_terraform(project: Project) -> None:
    with project.terraform_at_work():
        found = project.locker().read(project.key)
        assert found is not None and found.info is not None
        assert (found.info.operation, found.info.version) == (
            "OperationTypeApply",
            project.terraform.title.split()[-1],
        )
        assert (
            "@" in found.info.who
            and found.info.path == f"{project.bucket}/{project.key}"
            and found.info.lease is None
        )
        with pytest.raises(LockHeldError) as refused:
            project.locker().put(project.key, ours(), expect=None)
        assert refused.value.record == found
        break_lock(project.locker(), project.key, found.info.id)
        assert project.locker().read(project.key) is None


def test_terraform_reads_and_breaks_a_lock_of_dtm(project: Project) -> None:
    info = ours()
    project.locker().put(project.key, info, expect=None)
    status, text = project.run("plan", "-input=false")
    assert status == 1 and "Error acquiring the state lock" in text
    for shown in (info.id, info.who, info.operation, info.version, info.info):
        assert shown in text
    status, text = project.run("force-unlock", "-force", str(uuid.uuid4()))
    assert status == 1 and project.locker().read(project.key) is not None
    status, text = project.run("force-unlock", "-force", info.id)
    assert status == 0, text
    assert project.locker().read(project.key) is None


def test_terraform_and_dtm_lock_one_after_the_other(
    project: Project,
) -> None:
    mine = project.locker().put(project.key, ours(), expect=None)
    project.locker().remove(project.key, expect=mine)
    with project.terraform_at_work() as process:
        assert project.locker().read(project.key) is not None
    assert process.returncode == 0
    mine = project.locker().put(project.key, ours(), expect=None)
    project.locker().remove(project.key, expect=mine)


def test_command_line_breaks_a_lock_of_terraform(project: Project) -> None:
    with project.terraform_at_work():
        found = project.locker().read(project.key)
        assert found is not None and found.info is not None
        shown = (found.info.id, found.info.who, found.info.operation, found.info.version)
        status, text = project.dtm("lock")
        assert status == 3 and all(each in text for each in shown), text
        status, text = project.dtm("apply", "-y")
        assert status == 3 and all(
            each in text for each in (*shown, f"dtm force-unlock {found.info.id}")
        ), text
        assert project.dtm("force-unlock", str(uuid.uuid4()), "-y")[0] != 0
        status, text = project.dtm("force-unlock", found.info.id, "-y")
        assert status == 0, text
        assert project.dtm("lock")[0] == 0


def test_terraform_breaks_a_lock_of_the_command_line(project: Project) -> None:
    with project.dtm_at_work() as process:
        found = project.locker().read(project.key)
        assert found is not None and found.info is not None and found.info.lease is not None
        status, text = project.run("plan", "-input=false")
        assert status == 1 and found.info.id in text and found.info.who in text
        status, text = project.run("force-unlock", "-force", found.info.id)
        assert status == 0, text
        assert project.locker().read(project.key) is None
        (project.folder / "go").touch()
        text, _ = process.communicate(timeout=PATIENCE)
    assert (
        process.returncode == 0 and "the lock was not released" in text and "is not locked" in text
    )
    status, text = project.dtm("state", "list")
    assert status == 0 and "command/held" in text
