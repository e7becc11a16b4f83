"""Loading of templates: from dtm itself, a directory, an archive or a git repository."""

from __future__ import annotations

import io
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec

from engine.errors import ProviderError
from engine.ports import Call
from engine.schema import Field, Options
from engine.suggestions import find_similar
from providers._git.objects import GitFile
from providers._git.repository import GitRepository
from providers._git.scm import PATH_STARTS, PUBLIC_HOSTS, ScmType, complete_url, is_all_known
from providers._git.urls import is_path, local_path, strip_credentials

TEMPLATES_DIR: Final = Path(__file__).parent / "templates"
DEFAULT_TEMPLATE: Final = "golang-gin"
ARCHIVE_SUFFIXES: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
DEVSTREAM_PREFIXES: Final = ("dtm-repo-scaffolding-", "dtm-scaffolding-")


class TemplateRepo(Options, frozen=True, kw_only=True):
    """The template: `url`, or `name` and `owner` (or `org`) at a host."""

    url: Annotated[
        str,
        Field(
            "Git URL, path or archive of the template, or the name of a template that ships with "
            "dtm."
        ),
    ] = ""
    owner: Annotated[str, Field("User who owns the repository of the template.")] = ""
    org: Annotated[
        str, Field("Organization that owns the repository. Set either this or owner.")
    ] = ""
    name: Annotated[
        str,
        Field(
            "Name of the repository. The templates of DevStream ship with dtm.",
            aliases=("repo",),
        ),
    ] = ""
    branch: Annotated[
        str, Field("Branch. The default is the default branch of the repository.")
    ] = ""
    scm_type: Annotated[
        ScmType, Field("Host if url is not set: github or gitlab.", aliases=("repoType",))
    ] = "github"
    base_url: Annotated[str, Field("URL of another host, to which owner/name.git is appended.")] = (
        msgspec.field(default="", name="baseURL")
    )

    def __post_init__(self) -> None:
        if is_all_known(self):
            resolve_template(self)


def list_templates() -> list[str]:
    """List the names of the templates that ship with dtm."""
    return sorted(place.name for place in TEMPLATES_DIR.iterdir() if place.is_dir())


def resolve_template(template: TemplateRepo | str) -> str:
    """Return the name of a shipped template, a path or a URL.

    Raises ValueError with a message for the user.
    """
    if isinstance(template, str):
        return _resolve_text(template)
    if template.url:
        return _resolve_text(template.url)
    if not template.name:
        raise ValueError("sourceRepo names no template: set url or name")
    owner = template.org or template.owner
    if owner in ("", "devstream-io") and (shipped := _find_shipped(template.name)):
        return shipped
    base = template.base_url.rstrip("/") or PUBLIC_HOSTS.get(template.scm_type, "")
    if not base or not owner:
        raise ValueError(_describe_unknown(template.name))
    return complete_url(f"{base}/{owner}/{template.name}.git")


def find_local_template(template: TemplateRepo | str) -> str | None:
    """Return the path of a template on this machine, None for a shipped or a remote one.

    Raises ValueError.
    """
    where = resolve_template(template)
    local = is_path(where) or (where.lower().endswith(ARCHIVE_SUFFIXES) and "://" not in where)
    return str(local_path(where)) if local and where not in list_templates() else None


def _find_shipped(name: str) -> str:
    for prefix in DEVSTREAM_PREFIXES:
        name = name.removeprefix(prefix)
    return {"golang": DEFAULT_TEMPLATE}.get(name, name if name in list_templates() else "")


def _resolve_text(text: str) -> str:
    if found := _find_shipped(text):
        return found
    if text.lower().endswith(ARCHIVE_SUFFIXES):
        return text
    if text.startswith(PATH_STARTS) or "/" in text or ":" in text:
        return complete_url(text)
    raise ValueError(_describe_unknown(text))


def _describe_unknown(name: str) -> str:
    similar = find_similar(name, list_templates())
    known = f"use {similar}" if similar else f"use one of {', '.join(list_templates())}"
    return (
        f'sourceRepo: there is no template "{name}": {known}, '
        "or set a URL or a path that begins with ./"
    )


def load_template(template: TemplateRepo | str, call: Call) -> dict[str, GitFile]:
    """Return the files of a template by path.

    Raises ProviderError if the template does not exist or cannot be read.
    """
    try:
        where = resolve_template(template)
    except ValueError as error:
        raise ProviderError(str(error)) from error
    branch = "" if isinstance(template, str) else template.branch
    if where in list_templates():
        return _read_directory(TEMPLATES_DIR / where)
    place = call.base_dir / local_path(where)
    if where.lower().endswith(ARCHIVE_SUFFIXES):
        return _unpack(where, _download(where, call) if "://" in where else _read_bytes(place))
    if is_path(where) and place.is_dir() and not branch and not (place / "HEAD").is_file():
        return _read_directory(place)
    return _read_repository(GitRepository(where, branch, call=call))


def _read_repository(repository: GitRepository) -> dict[str, GitFile]:
    named = repository.branch or repository.read_default_branch() or ""
    files = repository.with_branch(named).read_files()
    if files is None:
        branch = f" with the branch {named}" if named else ""
        raise ProviderError(
            f"there is no template repository {repository.location}{branch}",
            hint=f"run git ls-remote --heads {repository.location} to check sourceRepo",
        )
    return files


def _read_directory(root: Path) -> dict[str, GitFile]:
    """Return all files of a directory tree, except those that git and Python add."""
    found: dict[str, GitFile] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if {".git", "__pycache__"} & set(name.parts):
            continue
        # Before is_file, which follows the link: the file may be outside the template, and copying
        # it would put a file of the user into the new repository.
        if path.is_symlink():
            found[name.as_posix()] = GitFile(str(path.readlink()).encode(), "120000")
        elif path.is_file():
            found[name.as_posix()] = GitFile(_read_bytes(path), _git_mode(path.stat().st_mode))
    return found


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProviderError(f"cannot read the template {path}: {error.strerror}") from error


def _git_mode(mode: int) -> str:
    return "120000" if stat.S_ISLNK(mode) else "100755" if mode & 0o100 else "100644"


def _download(url: str, call: Call) -> bytes:
    from urllib.error import URLError  # slow to import and rarely needed
    from urllib.request import Request, urlopen

    # At least one second: a timeout of 0 makes the socket non-blocking, and urlopen fails at once.
    patience = max(1.0, min(60.0, call.deadline - time.monotonic()))
    if not url.startswith(("http://", "https://")):
        raise ProviderError(
            f"cannot download the template {strip_credentials(url)}: "
            "only http and https URLs are supported"
        )
    try:
        with urlopen(Request(url), timeout=patience) as answer:  # noqa: S310 - checked above
            data: bytes = answer.read()
    except (URLError, OSError) as error:
        raise ProviderError(
            f"cannot download the template {strip_credentials(url)}: {error}", retryable=True
        ) from error
    return data


def _unpack(where: str, data: bytes) -> dict[str, GitFile]:
    """Return the files of a zip or tar archive.

    GitHub and GitLab put all files of an archive into one top directory, which is removed.
    """
    import tarfile  # both are slow to import and rarely needed
    import zipfile

    try:
        files = dict(_read_zip(data) if where.lower().endswith(".zip") else _read_tar(data))
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise ProviderError(f"the template {where} is not a readable archive: {error}") from error
    tops = {path.split("/", 1)[0] for path in files}
    if len(tops) == 1 and all("/" in path for path in files):
        return {path.split("/", 1)[1]: file for path, file in files.items()}
    return files


def _read_zip(data: bytes) -> Iterator[tuple[str, GitFile]]:
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for item in archive.infolist():
            if not item.is_dir():
                yield (
                    item.filename.removeprefix("./"),
                    GitFile(archive.read(item), _git_mode(item.external_attr >> 16)),
                )


def _read_tar(data: bytes) -> Iterator[tuple[str, GitFile]]:
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for item in archive:
            if item.issym():
                yield item.name.removeprefix("./"), GitFile(item.linkname.encode(), "120000")
            # extractfile returns None for directories and devices, which git cannot store.
            elif content := archive.extractfile(item):
                yield item.name.removeprefix("./"), GitFile(content.read(), _git_mode(item.mode))
