"""A real Ceph RGW for S3: one monitor, one OSD in memory, one gateway, and two users.

It is ready in about a second.
"""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.processes import HOST, Program, StartError, answers, free_ports, run, started

OSD_TRIES = 5
MONITOR_TRIES = 10

CONF = """\
[global]
fsid = {fsid}
mon host = v1:{host}:{mon_port}
public addr = {host}
cluster addr = {host}
ms bind ipv6 = false
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
auth allow insecure global id reclaim = true
keyring = {folder}/keyring
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
log file = {folder}/$name.log
# one copy of everything, in memory
mon allow pool size one = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 2147483648
osd memory target = 939524096
# a full disk is the machine's business
mon data avail crit = 1
mon data avail warn = 2
# without these the start takes ten seconds
paxos propose interval = 0.02
paxos min wait = 0.01
mon tick interval = 1
osd mon report interval = 1
osd pg stat report interval max = 1
mon osd min up ratio = 0
mon osd initial require min compat client = luminous

[mon.a]
mon data = {folder}/mon
mon initial members = a
mon cluster log file = {folder}/cluster.log

[osd.0]
osd data = {folder}/osd
# the OSD is put into the crush map by hand: its own first command fails about one time in three
osd class update on start = false
osd crush update on start = false

[client.rgw]
rgw data = {folder}/rgw
# without tcp_nodelay every read takes 44 ms
rgw frontends = beast endpoint={host}:{port} tcp_nodelay=1
rgw thread pool size = 32
rgw dns name =
rgw enable usage log = false
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = testkey-1=YmluCmJvb3N0CmJvb3N0LWJ1aWxkCmNlcGguY29uZgo=
rgw relaxed s3 bucket names = true
"""


@dataclass(frozen=True, slots=True)
class Rgw:
    """A running gateway; the stranger has a valid key, but no permissions.

    `plain` is a bucket without versioning, `versioned` one with it.
    """

    title: str
    endpoint: str
    plain: str = "plain"
    versioned: str = "versioned"
    region: str = "us-east-1"
    access_key: str = "owner"
    secret_key: str = "ownersecret"
    stranger_key: str = "stranger"
    stranger_secret: str = "strangersecret"

    def client(self, *, stranger: bool = False) -> Any:
        """Return a boto3 client that does not retry."""
        return s3_client(
            self.endpoint,
            self.stranger_key if stranger else self.access_key,
            self.stranger_secret if stranger else self.secret_key,
            self.region,
        )


def s3_client(endpoint: str, access_key: str, secret_key: str, region: str) -> Any:
    """Return a boto3 client with its own session, in path style and without retries."""
    import boto3
    from botocore.config import Config

    return boto3.session.Session(access_key, secret_key, region_name=region).client(
        "s3",
        endpoint_url=endpoint,
        config=Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            max_pool_connections=64,
        ),
    )


@contextlib.contextmanager
def ceph_rgw(folder: Path) -> Iterator[Rgw]:
    """Run a gateway in the new directory `folder` until the block ends. Raises StartError."""
    for name in ("mon", "osd", "rgw", "run"):
        (folder / name).mkdir(parents=True)
    port, mon_port = free_ports(2)
    conf, fsid = folder / "ceph.conf", str(uuid.uuid4())
    conf.write_text(CONF.format(host=HOST, port=port, mon_port=mon_port, folder=folder, fsid=fsid))
    with contextlib.ExitStack() as stack:
        _monitor(folder, conf, fsid, mon_port, stack)
        _osd(folder, conf, stack)
        gateway = stack.enter_context(
            started(folder / "rgw.out", "radosgw", "-c", conf, "-n", "client.rgw", "-f")
        )
        found = Rgw(f"Ceph RGW {_version(folder)}", f"http://{HOST}:{port}")
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda user: _user(folder, conf, *user), _users(found)))
        gateway.until(lambda: answers(found.endpoint, errors_too=True))
        _buckets(found)
        yield found


def _monitor(folder: Path, conf: Path, fsid: str, port: int, stack: contextlib.ExitStack) -> None:
    log, keyring = folder / "setup.log", folder / "keyring"
    run(
        [
            "ceph-authtool",
            "--create-keyring",
            keyring,
            "--gen-key",
            "-n",
            "mon.",
            "--cap",
            "mon",
            "allow *",
        ],
        log,
    )
    caps = [word for part in ("mon", "osd", "mgr") for word in ("--cap", part, "allow *")]
    run(["ceph-authtool", keyring, "--gen-key", "-n", "client.admin", *caps], log)
    run(
        [
            "monmaptool",
            "--create",
            "--addv",
            "a",
            f"[v1:{HOST}:{port}]",
            "--fsid",
            fsid,
            folder / "monmap",
        ],
        log,
    )
    run(
        [
            "ceph-mon",
            "-c",
            conf,
            "-i",
            "a",
            "--mkfs",
            "--monmap",
            folder / "monmap",
            "--keyring",
            keyring,
        ],
        log,
    )
    stack.enter_context(started(folder / "mon.out", "ceph-mon", "-c", conf, "-i", "a", "-f"))


def _osd(folder: Path, conf: Path, stack: contextlib.ExitStack) -> None:
    log, osd = folder / "setup.log", str(uuid.uuid4())
    _ceph(conf, log, "osd", "new", osd, "0")
    run(["ceph-osd", "-c", conf, "-i", "0", "--mkfs", "--osd-uuid", osd], log)
    _ceph(conf, log, "osd", "crush", "add", "osd.0", "1.0", "host=h1", "root=default")
    for number in range(OSD_TRIES):
        if _keeps_running(
            stack.enter_context(
                started(folder / f"osd{number}.out", "ceph-osd", "-c", conf, "-i", "0", "-f")
            )
        ):
            return
    raise StartError(f"the OSD ended {OSD_TRIES} times, logs {folder}/osd*.out")


def _ceph(conf: Path, log: Path, *words: str) -> None:
    """Send an idempotent command to the monitor; repeat it while the monitor is not ready."""
    for left in reversed(range(MONITOR_TRIES)):
        try:
            run(["ceph", "-c", conf, "--connect-timeout", "10", *words], log)
            return
        except StartError:
            if not left:
                raise
            time.sleep(0.3)


def _keeps_running(program: Program) -> bool:
    """Return whether the program keeps running; if it ends early, a second start works."""
    with contextlib.suppress(StartError):
        program.until(lambda: False, patience=0.3)
    return program.alive()


def _users(found: Rgw) -> list[tuple[str, str]]:
    return [(found.access_key, found.secret_key), (found.stranger_key, found.stranger_secret)]


def _user(folder: Path, conf: Path, key: str, secret: str) -> None:
    names = [
        f"--uid={key}",
        f"--display-name={key}",
        f"--access-key={key}",
        f"--secret-key={secret}",
    ]
    run(["radosgw-admin", "-c", conf, "user", "create", *names], folder / f"{key}.log")


def _version(folder: Path) -> str:
    found = re.search(r"version (\S+)", run(["radosgw", "--version"], folder / "setup.log"))
    return found.group(1) if found else "of unknown version"


def _buckets(found: Rgw) -> None:
    client = found.client()
    for bucket in (found.plain, found.versioned):
        client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(
        Bucket=found.versioned, VersioningConfiguration={"Status": "Enabled"}
    )
    client.close()
