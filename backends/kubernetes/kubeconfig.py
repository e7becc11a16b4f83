"""Access to a Kubernetes cluster: kubeconfigs as kubectl reads them, or a pod's account."""

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
from engine.suggestions import find_similar

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""The folder where a pod finds its token and the cluster's certificate."""


class ClusterAccess(msgspec.Struct, frozen=True):
    """A cluster and the credentials for it.

    `files` are kubeconfigs; without any the pod's own account counts. `context` "" is the current
    context of the files.
    """

    files: tuple[Path, ...] = ()
    context: str = ""
    account: Path = ACCOUNT

    @property
    def identity(self) -> str:
        """Describe the credentials for messages."""
        if not self.files:
            return "the pod's service account"
        context = f"context {self.context}" if self.context else "the current context"
        return f"{context} of {', '.join(map(str, self.files))}"


def find_access(
    kubeconfig: str, context: str, in_cluster: bool | None, base: Path, env: Mapping[str, str]
) -> ClusterAccess:
    """Find the kubeconfig: option, else KUBECONFIG, else ~/.kube/config, else the pod's account.

    `in_cluster` True takes the pod's account whatever files there are, False never takes it.
    Raises StoreAccessError if nothing is found.
    """
    if in_cluster:
        return ClusterAccess()
    if kubeconfig:
        return ClusterAccess((base / Path(kubeconfig).expanduser(),), context)
    named = tuple(Path(part).expanduser() for part in env.get("KUBECONFIG", "").split(":") if part)
    usual = Path(env.get("HOME", "~"), ".kube", "config").expanduser()
    files = named or ((usual,) if usual.is_file() else ())
    if files:
        return ClusterAccess(files, context)
    if (
        in_cluster is None
        # A context is a name in a kubeconfig; a pod's account has none.
        and not context
        and env.get("KUBERNETES_SERVICE_HOST")
        and (ACCOUNT / "token").is_file()
    ):
        return ClusterAccess()
    raise StoreAccessError(
        f"there is no kubeconfig: KUBECONFIG is not set and {usual} does not exist",
        hint="name one: option kubeconfig, or export KUBECONFIG=/path/to/kubeconfig",
    )


def load(access: ClusterAccess, settings: Any, env: Mapping[str, str]) -> None:
    """Put the server and the credentials into the client's `settings`.

    Raises ValueError, OSError, and the client's own errors.
    """
    with _logged_errors() as logged:
        if access.files:
            _read(access.files, access.context).load_and_set(settings)
        else:
            token, certificate = str(access.account / "token"), str(access.account / "ca.crt")
            loader = sdk().incluster_config.InClusterConfigLoader
            loader(token, certificate, environ=env).load_and_set(settings)
    # A credential plugin failed. Without its credentials the server would only answer 401.
    if logged:
        raise ValueError(f"no credentials: {'; '.join(record.getMessage() for record in logged)}")


@contextmanager
def _logged_errors() -> Generator[list[logging.LogRecord]]:
    """Collect the errors that the client only logs before it goes on without the credentials."""
    handler = BufferingHandler(100)
    handler.setLevel(logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        yield handler.buffer
    finally:
        logging.getLogger().removeHandler(handler)


class _File(msgspec.Struct, rename={"current": "current-context"}):
    contexts: list[dict[str, Any]] | None = None
    clusters: list[dict[str, Any]] | None = None
    users: list[dict[str, Any]] | None = None
    current: str | None = None


class _Merged(msgspec.Struct):
    """The content of several files: the first entry of a name counts, and the first context."""

    contexts: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    clusters: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    users: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    current: str = ""


def _read(files: Sequence[Path], context: str) -> Any:
    """Return the client's own loader for these files.

    The client would read them itself, but slowly, and the last file would count.
    """
    client = sdk().kube_config
    merged = _Merged()
    for path in files:
        # Missing files of a list are skipped, as kubectl does; a single one must be there.
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
        found = yaml.load(path.read_text("utf-8"), loader)  # noqa: S506 - either loader is safe
        return msgspec.convert(found, _File)
    except (msgspec.ValidationError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is no kubeconfig: {error}") from error


def _merge(merged: _Merged, path: Path, file: _File, node: Any) -> None:
    """Add the entries of a file that are not there yet.

    Each is a `node` of the client, which knows the file: relative paths in it start from there.
    """
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
        meant = find_similar(wanted, names)
        raise ValueError(
            f'no context "{wanted}"'
            + (f", did you mean {meant}?" if meant else f"; there are: {known}")
        )
