"""Paths and URLs of git repositories: normalized for comparison, and shown without credentials."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

SCP_LIKE = re.compile(
    r"(?P<user>[\w.+-]+@)?(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?!//)(?P<path>[^:].*)", re.DOTALL
)
CASELESS_HOSTS = frozenset(
    {"github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "gitee.com"}
)


def is_path(url: str) -> bool:
    """Return whether git treats this as a path on this machine."""
    return url.startswith("file://") or not ("://" in url or SCP_LIKE.fullmatch(url))


def local_path(url: str) -> Path:
    """Return the path of a `file://` URL or path, with `~` expanded. It may be relative."""
    path = unquote(urlsplit(url).path) if url.startswith("file://") else url
    # Path.expanduser would raise if `~name` names an unknown user.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def normalize_url(url: str) -> str:
    """Return the same text for all URLs of one repository: `github.com/me/app`, or the path. Pure.

    User name, transport and a final `.git` are removed. The host is written in lower case, and so
    is the path if the host is known to ignore case.
    """
    if is_path(url):
        return os.path.normpath(local_path(url))
    if scp := SCP_LIKE.fullmatch(url):
        host, path = scp["host"].lower(), scp["path"]
    else:
        parts = urlsplit(url)
        host, path = (
            (parts.hostname or "") + (f":{parts.port}" if parts.port else ""),
            unquote(parts.path),
        )
    path = path.strip("/").removesuffix(".git")
    return f"{host}/{path.lower() if host in CASELESS_HOSTS else path}"


def strip_credentials(url: str) -> str:
    """Return a URL without its password, and without the user name if it is an http URL."""
    parts = urlsplit(url) if "://" in url else None
    if parts is None or "@" not in parts.netloc:
        return url
    user, _, host = parts.netloc.rpartition("@")
    keep = "" if parts.scheme.startswith("http") else user.partition(":")[0] + "@"
    return urlunsplit(parts._replace(netloc=keep + host))
