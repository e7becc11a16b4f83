"""The options that say which repository is meant: by URL, or by owner and name at some place."""

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
    "making repositories through the API of GitHub or GitLab comes with a later version: "
    "make an empty repository there and give its url (git itself must have access), "
    "or use scmType: local"
)
HOSTS: Final[Mapping[str, ScmType]] = {"github.com": "github", "gitlab.com": "gitlab"}
PUBLIC_HOSTS: Final = {"github": "https://github.com", "gitlab": "https://gitlab.com"}
SCHEMES: Final = ("https://", "http://", "ssh://", "git://", "git+ssh://", "file://")
PATH_STARTS: Final = ("/", "./", "../", "~")
LOOKS_LIKE_HOST = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?(/.*)?")

Token: TypeAlias = Annotated[
    str,
    Field("the password for http URLs; without it git asks its credential helpers", secret=True),
]
T = TypeVar("T")


def is_all_known(options: Options) -> bool:
    """Tell if no option of this block is known only after apply: then it can be checked as a whole.

    Structs check themselves when they are built, and a plan builds them before all is known.
    """
    return not any(isinstance(getattr(options, n), Unknown) for n in options.__struct_fields__)


class Repo(Options, frozen=True, kw_only=True):
    """The repository that is meant: at `url`, else `name` of `owner` or `org` below `baseURL`."""

    url: Annotated[
        str,
        Field(
            "any URL that git can reach, or the path of a repository on this machine "
            "beginning with ./, ../, ~ or /",
            example="./repos/me/app.git",
        ),
    ] = ""
    owner: Annotated[str, Field("the user who owns it", example="me", replace=True)] = ""
    org: Annotated[
        str, Field("the organisation or group that owns it, instead of owner", replace=True)
    ] = ""
    name: Annotated[
        str, Field("the repository's name", example="app", replace=True, aliases=("repo",))
    ] = ""
    branch: Annotated[str, Field("the branch; main if not given, master on GitLab")] = ""
    scm_type: Annotated[
        ScmType | None,
        Field(
            "local: a bare repository on this machine; github, gitlab, or git: any other host",
            example="local",
            aliases=("repoType",),
        ),
    ] = None
    base_url: Annotated[
        str,
        Field(
            "what owner/name.git is appended to where there is no url; "
            "for scmType local a directory, ./repos if not given"
        ),
    ] = msgspec.field(default="", name="baseURL")
    token: Token = ""

    def __post_init__(self) -> None:
        if is_all_known(self):
            locate(self)


class Location(msgspec.Struct, frozen=True):
    """A repository, found.

    `url` is for git, a relative path still relative; `owner` and `org` are never both set.
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
        """Name the repository by one text, whatever the spelling of its URL."""
        return normalize_url(self.url)


def locate(repo: Repo) -> Location:
    """Find out where that is. Pure.

    Raises ValueError with a sentence for people, UnknownValueError where a needed field is unknown.
    """
    # Any other field raises by itself when it is used before it is known.
    if isinstance(repo.scm_type, Unknown):
        raise UnknownValueError("scmType is only known after apply")
    if repo.owner and repo.org:
        raise ValueError("git org and owner can't be configured at the same time")
    url = complete_url(repo.url) if repo.url else _compose_url(repo)
    kind = repo.scm_type or _guess_scm_type(url)
    if kind == "local" and not is_path(url):
        raise ValueError(f"scmType local wants a path, not {url}")
    owner, name = (
        (repo.owner, repo.name or _name_of_path(url))
        if is_path(url)
        else _parse_owner_and_name(url, repo)
    )
    if not name:
        raise ValueError("git name field must be configured")
    usual = "master" if kind == "gitlab" else "main"
    # An unknown branch does not keep the rest from being known.
    branch = repo.branch if isinstance(repo.branch, Unknown) else repo.branch or usual
    return Location(url, "" if repo.org else owner, repo.org, name, branch, kind, repo.token)


def complete_url(text: str) -> str:
    """Complete a URL as git understands it: `github.com/me/app` becomes https.

    Paths are relative only behind `./` or `../`. Raises ValueError.
    """
    if text.startswith(PATH_STARTS):
        return text
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
        raise ValueError("which repository is meant: give url, or baseURL, or scmType: local")
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
    """Take them from the path of a URL, where groups may be nested.

    A lone name must end in .git, else it looks like a user's page.
    """
    scp = SCP_LIKE.fullmatch(url)
    path: str = scp["path"] if scp else unquote(urlsplit(url).path)
    owner, _, name = path.strip("/").removesuffix(".git").rpartition("/")
    if not name or not (owner or url.rstrip("/").endswith(".git")):
        raise ValueError(f'git url repo path is not valid: "{url}" (expected host/owner/name)')
    return repo.owner or owner, repo.name or name


def locate_in_call(repo: Repo) -> Location:
    """Find out where that is, in a provider call: errors as of `in_call`."""
    return map_option_errors(lambda: locate(repo))


def map_option_errors(compute: Callable[[], T]) -> T:
    """Turn the ValueError of a check of options into a ProviderError; UnknownValueError stays.

    Options are checked when the configuration is read, but recorded ones may be older than a check.
    """
    try:
        return compute()
    except UnknownValueError:
        raise
    except ValueError as error:
        raise ProviderError(str(error)) from error
