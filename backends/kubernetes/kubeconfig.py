"""Access to a Kubernetes cluster: by a kubeconfig, as kubectl reads it, or by a pod's account."""

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

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""The folder in which a pod finds its token and the certificate of the cluster."""


class ClusterAccess(msgspec.Struct, frozen=True):
    """A cluster and the credentials for it.

    `files` are the kubeconfigs; if there are none, the pod's service account is used. An empty
    `context` means the current context of the files.
    """

    files: tuple[Path, ...] = ()
    context: str = ""
    account: Path = SERVICE_ACCOUNT_DIR

    @property
    def identity(self) -> str:
        """A description of the credentials for messages."""
        if not self.files:
            return "the pod's service account"
        context = f"context {self.context}" if self.context else "the current context"
        return f"{context} of {', '.join(map(str, self.files))}"


def find_access(
    kubeconfig: str, context: str, in_cluster: bool | None, base: Path, env: Mapping[str, str]
) -> ClusterAccess:
    """Find the kubeconfig, or the service account of the pod.

    The first of these counts: option `kubeconfig`, KUBECONFIG, ~/.kube/config, the pod's account.
    With `in_cluster` True the pod's account is always used, with False never. Raises
    StoreAccessError if none of them exists.
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
        # A context is an entry of a kubeconfig: a user who names one does not want the pod's
        # account.
        and not context
        and env.get("KUBERNETES_SERVICE_HOST")
        and (SERVICE_ACCOUNT_DIR / "token").is_file()
    ):
        return ClusterAccess()
    raise StoreAccessError(
        f"no kubeconfig was found: KUBECONFIG is not set and {usual} does not exist",
        hint="set option kubeconfig, or run export KUBECONFIG=/path/to/kubeconfig",
    )


def load(access: ClusterAccess, settings: Any, env: Mapping[str, str]) -> None:
    """Set the server and the credentials in the client's `settings`.

    Raises ValueError, OSError, and errors of the client.
    """
    with _logged_errors() as logged:
        if access.files:
            _make_loader(access.files, access.context).load_and_set(settings)
        else:
            token, certificate = str(access.account / "token"), str(access.account / "ca.crt")
            loader = sdk().incluster_config.InClusterConfigLoader
            loader(token, certificate, environ=env).load_and_set(settings)
    # A credential plugin failed. Report its message: without credentials the server would only
    # answer 401, which does not name the cause.
    if logged:
        raise ValueError(f"no credentials: {'; '.join(record.getMessage() for record in logged)}")


@contextmanager
def _logged_errors() -> Generator[list[logging.LogRecord]]:
    """Collect the errors of credential plugins, which the client only logs."""
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
    """The merged content of several files: the first entry with a name counts."""

    contexts: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    clusters: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    users: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    current: str = ""


def _make_loader(files: Sequence[Path], context: str) -> Any:
    """Return the client's loader for these files."""
    # The client can merge files itself. But it reads them slowly, and its last file counts, while
    # for kubectl the first one does.
    client = sdk().kube_config
    merged = _Merged()
    for path in files:
        # Like kubectl, skip missing files of a list. A single file must exist.
        if len(files) == 1 or path.exists():
            _merge(merged, path, _parse_file(path), client.ConfigNode)
    wanted = context or merged.current
    _require_context(wanted, merged.contexts)
    content = {
        kind: list(getattr(merged, kind).values()) for kind in ("contexts", "clusters", "users")
    }
    return client.KubeConfigLoader(
        client.ConfigNode(", ".join(map(str, files)), content), wanted, config_base_path=None
    )


def _parse_file(path: Path) -> _File:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load(path.read_text("utf-8"), loader)  # noqa: S506 - either loader is safe
        return msgspec.convert(found, _File)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except (msgspec.ValidationError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is not a valid kubeconfig: {error}") from error


def _merge(merged: _Merged, path: Path, file: _File, node: Any) -> None:
    """Add the entries of a file whose names are new.

    Each entry becomes a `node` of the client. A node knows its file, so that relative paths in the
    entry are resolved from the folder of that file.
    """
    for kind in ("contexts", "clusters", "users"):
        for entry in getattr(file, kind) or ():
            name = str(entry.get("name"))
            getattr(merged, kind).setdefault(name, node(f"{path}/{name}", entry, str(path)))
    merged.current = merged.current or file.current or ""


def _require_context(wanted: str, names: Iterable[str]) -> None:
    known = ", ".join(names)
    if not wanted:
        choice = f"; set option context to one of {known}" if known else ", and no context exists"
        raise ValueError(f"no current-context is set{choice}")
    if wanted not in names:
        meant = find_similar(wanted, names)
        raise ValueError(
            f'no context "{wanted}"'
            + (
                f", check the spelling: {meant} is similar"
                if meant
                else (f"; use one of {known}" if known else ", and no other one")
            )
        )
