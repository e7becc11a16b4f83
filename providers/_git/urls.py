"""Names of git repositories: paths and URLs, shown without credentials, and made comparable."""

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
    """Tell if git takes this for a path on this machine."""
    return url.startswith("file://") or not ("://" in url or SCP_LIKE.fullmatch(url))


def local_path(url: str) -> Path:
    """Take the path of a local URL, `~` expanded; may be relative."""
    path = unquote(urlsplit(url).path) if url.startswith("file://") else url
    # Path.expanduser raises for a user that this machine does not have.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def normalize_url(url: str) -> str:
    """Spell every URL of one repository the same: `github.com/me/app`, or the path. Pure.

    User names, transports and a final `.git` do not count; hosts, and names on hosts known to
    ignore case, are lower case.
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
    """Cut a password, and over http the user name too, out of a URL that is to be shown."""
    parts = urlsplit(url) if "://" in url else None
    if parts is None or "@" not in parts.netloc:
        return url
    user, _, host = parts.netloc.rpartition("@")
    keep = "" if parts.scheme.startswith("http") else user.partition(":")[0] + "@"
    return urlunsplit(parts._replace(netloc=keep + host))
