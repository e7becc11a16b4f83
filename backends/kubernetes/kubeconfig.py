"""Which Kubernetes cluster, as whom: kubeconfigs as kubectl reads them, or the account of a pod."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

import msgspec

from backends.kubernetes.client import sdk
from engine.errors import StoreAccessError
from engine.suggestions import near

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token and the cluster's certificate."""


class Access(msgspec.Struct, frozen=True):
    """Which cluster, as whom. `files` are kubeconfigs, none: the pod's own account. `context` "": the files' current one."""

    files: tuple[Path, ...] = ()
    context: str = ""
    account: Path = ACCOUNT

    @property
    def identity(self) -> str:
        """Who asks, for messages."""
        if not self.files:
            return "the pod's service account"
        return f"{f'context {self.context}' if self.context else 'the current context'} of {', '.join(map(str, self.files))}"


def find_access(
    kubeconfig: str, context: str, in_cluster: bool | None, base: Path, env: Mapping[str, str]
) -> Access:
    """The kubeconfig that is named, else KUBECONFIG, else ~/.kube/config, else the pod's account.

    `in_cluster` True takes the pod's account whatever files there are, False never. Raises StoreAccessError if there is none.
    """
    if in_cluster:
        return Access()
    if kubeconfig:
        return Access((base / Path(kubeconfig).expanduser(),), context)
    named = tuple(Path(part).expanduser() for part in env.get("KUBECONFIG", "").split(":") if part)
    usual = Path(env.get("HOME", "~"), ".kube", "config").expanduser()
    files = named or ((usual,) if usual.is_file() else ())
    if files:
        return Access(files, context)
    if (
        in_cluster is None
        and not context
        and env.get("KUBERNETES_SERVICE_HOST")
        and (ACCOUNT / "token").is_file()
    ):
        return Access()
    raise StoreAccessError(
        f"there is no kubeconfig: KUBECONFIG is not set and {usual} does not exist",
        hint="name one: option kubeconfig, or export KUBECONFIG=/path/to/kubeconfig",
    )


def load(access: Access, settings: Any, env: Mapping[str, str]) -> None:
    """Server and credentials into the client's `settings`. Raises ValueError, OSError, or what the client raises."""
    with _complaints() as told:
        if access.files:
            _read(access.files, access.context).load_and_set(settings)
        else:
            loader = sdk().incluster_config.InClusterConfigLoader
            loader(
                str(access.account / "token"), str(access.account / "ca.crt"), environ=env
            ).load_and_set(settings)
    if told:  # a credential plugin failed: without what it should have given, every answer would be a puzzling 401
        raise ValueError(f"no credentials: {'; '.join(record.getMessage() for record in told)}")


@contextmanager
def _complaints() -> Generator[list[logging.LogRecord]]:
    """What the client only logs: it goes on without the credentials."""
    ear = BufferingHandler(100)
    ear.setLevel(logging.ERROR)
    logging.getLogger().addHandler(ear)
    try:
        yield ear.buffer
    finally:
        logging.getLogger().removeHandler(ear)


class _File(msgspec.Struct, rename={"current": "current-context"}):
    contexts: list[dict[str, Any]] | None = None
    clusters: list[dict[str, Any]] | None = None
    users: list[dict[str, Any]] | None = None
    current: str | None = None


class _Merged(msgspec.Struct):
    """What several files say: of two entries with one name the first counts, and the first current context."""

    contexts: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    clusters: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    users: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    current: str = ""


def _read(files: Sequence[Path], context: str) -> Any:
    """The client's own loader of these files. It would read them itself, but slowly, and the last file would count."""
    client = sdk().kube_config
    merged = _Merged()
    for path in files:
        if len(files) == 1 or path.exists():
            _merge(merged, path, _parsed(path), client.ConfigNode)
    wanted = context or merged.current
    _check(wanted, merged.contexts)
    content = {
        kind: list(getattr(merged, kind).values()) for kind in ("contexts", "clusters", "users")
    }
    return client.KubeConfigLoader(
        client.ConfigNode(", ".join(map(str, files)), content), wanted, config_base_path=None
    )


def _parsed(path: Path) -> _File:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return msgspec.convert(yaml.load(path.read_text("utf-8"), loader), _File)  # noqa: S506 - either loader is safe
    except (msgspec.ValidationError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is no kubeconfig: {error}") from error


def _merge(merged: _Merged, path: Path, file: _File, node: Any) -> None:
    """Entries as the client has them: each knows its file, which relative paths in it start from."""
    for kind in ("contexts", "clusters", "users"):
        for entry in getattr(file, kind) or ():
            name = str(entry.get("name"))
            getattr(merged, kind).setdefault(name, node(f"{path}/{name}", entry, str(path)))
    merged.current = merged.current or file.current or ""


def _check(wanted: str, names: Iterable[str]) -> None:
    known = ", ".join(names) or "none"
    if not wanted:
        raise ValueError(f"no current-context; name one of {known} as option context")
    if wanted not in names:
        meant = near(wanted, names)
        raise ValueError(
            f'no context "{wanted}"'
            + (f", did you mean {meant}?" if meant else f"; there are: {known}")
        )
