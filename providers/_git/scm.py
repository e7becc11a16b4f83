"""Options that name a git repository: by URL, or by owner, name and host."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

from engine.errors import ProviderError
from engine.schema import Field, Options
from engine.values import Unknown, UnknownValueError
from providers._git.urls import SCP_LIKE, is_path, local_path, normalize_url

ScmType = Literal["local", "github", "gitlab", "git"]
LOCAL_ROOT: Final = "./repos"
NO_REPO_API: Final = (
    "this version cannot create repositories on GitHub or GitLab: create an empty repository "
    "there and set its url (git must have access to it), or set scmType: local"
)
HOSTS: Final[Mapping[str, ScmType]] = {"github.com": "github", "gitlab.com": "gitlab"}
PUBLIC_HOSTS: Final = {"github": "https://github.com", "gitlab": "https://gitlab.com"}
SCHEMES: Final = ("https://", "http://", "ssh://", "git://", "git+ssh://", "file://")
PATH_STARTS: Final = ("/", "./", "../", "~")
"""Texts with which a path begins. Any other text is read as a host and a path."""
LOOKS_LIKE_HOST = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?(/.*)?")

Token: TypeAlias = Annotated[
    str,
    Field(
        "Password or token for an http URL. Without it, git asks its credential helpers.",
        secret=True,
    ),
]
T = TypeVar("T")


def is_all_known(options: Options) -> bool:
    """Return whether no option of this block is UNKNOWN, so that the block can be checked.

    A plan builds options before the outputs of other tools are known.
    """
    return not any(isinstance(getattr(options, n), Unknown) for n in options.__struct_fields__)


class Repo(Options, frozen=True, kw_only=True):
    """The repository: `url`, or `name` and `owner` (or `org`) below `baseURL`."""

    url: Annotated[
        str,
        Field(
            "URL of the repository, or a path on this machine that begins with ./, ../, ~ or /. "
            "Set either this, or name and owner.",
            example="./repos/me/app.git",
        ),
    ] = ""
    owner: Annotated[str, Field("User who owns the repository.", example="me", replace=True)] = ""
    org: Annotated[
        str,
        Field(
            "Organization or group that owns the repository. Set either this or owner.",
            replace=True,
        ),
    ] = ""
    name: Annotated[
        str, Field("Name of the repository.", example="app", replace=True, aliases=("repo",))
    ] = ""
    branch: Annotated[str, Field("Branch. The default is main, on GitLab master.")] = ""
    scm_type: Annotated[
        ScmType | None,
        Field(
            "Kind of host: local (a bare repository on this machine), github, gitlab, or git (any "
            "other host). The default follows from the URL.",
            example="local",
            aliases=("repoType",),
        ),
    ] = None
    base_url: Annotated[
        str,
        Field(
            "URL or directory to which owner/name.git is appended if url is not set. With scmType "
            "local the default is ./repos."
        ),
    ] = msgspec.field(default="", name="baseURL")
    token: Token = ""

    def __post_init__(self) -> None:
        if is_all_known(self):
            locate(self)


class Location(msgspec.Struct, frozen=True):
    """A repository and branch, as the options name them.

    `url` is what git gets. A relative path stays relative to the config file. `owner` and `org` are
    never both set.
    """

    url: str
    owner: str
    org: str
    name: str
    branch: str
    scm_type: ScmType
    token: str = ""

    @property
    def identity(self) -> str:
        """The normalized URL: the same text for every spelling."""
        return normalize_url(self.url)


def locate(repo: Repo) -> Location:
    """Return URL, owner, name and branch that these options name. Pure.

    Raises ValueError with a message for the user, UnknownValueError if a needed option is unknown.
    Messages that begin with `git` have the wording of DevStream, which scripts may search for.
    """
    # Checked here, because `scm_type` is only compared, and comparing an unknown value raises
    # nothing. Every other unknown option raises as soon as it is used.
    if isinstance(repo.scm_type, Unknown):
        raise UnknownValueError("scmType is only known after apply")
    if repo.owner and repo.org:
        raise ValueError("git org and owner can't be configured at the same time")
    url = complete_url(repo.url) if repo.url else _compose_url(repo)
    kind = repo.scm_type or _guess_scm_type(url)
    if kind == "local" and not is_path(url):
        raise ValueError(f"scmType local needs a path, but url is {url}")
    owner, name = (
        (repo.owner, repo.name or _name_of_path(url))
        if is_path(url)
        else _parse_owner_and_name(url, repo)
    )
    if not name:
        raise ValueError("git name field must be configured")
    usual = "master" if kind == "gitlab" else "main"
    # An unknown branch must not make the URL unknown: a plan shows as much as it can.
    branch = repo.branch if isinstance(repo.branch, Unknown) else repo.branch or usual
    return Location(url, "" if repo.org else owner, repo.org, name, branch, kind, repo.token)


def complete_url(text: str) -> str:
    """Return a URL or path that git accepts: `github.com/me/app` gets `https://`.

    A relative path must begin with `./` or `../`, because `me/app` could also be a host and a path.
    Raises ValueError.
    """
    if text.startswith(PATH_STARTS):
        return text
    # Only these transports: git also knows `ext::COMMAND`, which would run a command.
    if "://" in text:
        if not text.startswith(SCHEMES):
            raise ValueError(f'git url repo transport not support for now: "{text}"')
        return text
    if SCP_LIKE.fullmatch(text):
        return text
    if "@" in text:
        raise ValueError(f'git url ssh repo not valid: "{text}" (expected git@host:owner/name.git)')
    if LOOKS_LIKE_HOST.fullmatch(text):
        return f"https://{text}"
    raise ValueError(
        f'git url repo transport not support for now: "{text}" (a path begins with ./, ../, ~ or /)'
    )


def _compose_url(repo: Repo) -> str:
    if not repo.name:
        raise ValueError("git name field must be configured")
    if not repo.base_url and repo.scm_type in ("github", "gitlab"):
        raise ValueError(NO_REPO_API)
    if not repo.base_url and repo.scm_type != "local":
        raise ValueError("the repository has no location: set url, or baseURL, or scmType: local")
    base = (repo.base_url or LOCAL_ROOT).rstrip("/") or "/."
    if repo.scm_type == "local" and not base.startswith(PATH_STARTS):
        base = f"./{base}"
    return complete_url(
        "/".join(part for part in (base, repo.org or repo.owner, f"{repo.name}.git") if part)
    )


def _guess_scm_type(url: str) -> ScmType:
    return "local" if is_path(url) else HOSTS.get(normalize_url(url).partition("/")[0], "git")


def _name_of_path(url: str) -> str:
    return local_path(url).name.removesuffix(".git")


def _parse_owner_and_name(url: str, repo: Repo) -> tuple[str, str]:
    """Return owner and name from the path of a URL. The owner may be nested groups: `a/b`.

    A path of one part must end in `.git`: otherwise it is probably the page of a user.
    """
    scp = SCP_LIKE.fullmatch(url)
    path: str = scp["path"] if scp else unquote(urlsplit(url).path)
    owner, _, name = path.strip("/").removesuffix(".git").rpartition("/")
    if not name or not (owner or url.rstrip("/").endswith(".git")):
        raise ValueError(f'git url repo path is not valid: "{url}" (expected host/owner/name)')
    return repo.owner or owner, repo.name or name


def locate_in_call(repo: Repo) -> Location:
    """Return the location as `locate` does, but raise errors as `map_option_errors` does."""
    return map_option_errors(lambda: locate(repo))


def map_option_errors(compute: Callable[[], T]) -> T:
    """Raise the ValueError of an option check as a ProviderError; let UnknownValueError pass.

    The options of a config file are checked when it is loaded. But recorded options may come from
    an older version without the check, so a provider call can find the problem first.
    """
    try:
        return compute()
    except UnknownValueError:
        raise
    except ValueError as error:
        raise ProviderError(str(error)) from error
