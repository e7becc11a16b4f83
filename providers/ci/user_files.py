"""User files: CI files that are given in the options, as a path or as a URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import msgspec
import yaml

from engine.errors import AuthError, NotFoundError, ProviderError

TIMEOUT: Final = 30.0
"""Seconds to wait for a connection and for each answer."""
MAX_FILE_SIZE: Final = 4 << 20
"""Largest file that is downloaded, in bytes."""
SQUARE_VARIABLE: Final = re.compile(r"(?<!\$)\[\[\s*\.?([A-Za-z_][\w.-]*)\s*\]\]")
CURLY_VARIABLE: Final = re.compile(r"(?<!\$)\{\{\s*\.?([A-Za-z_][\w.-]*)\s*\}\}")
"""Patterns of a variable: a dotted name in brackets.

`[[ -f x ]]` of a shell does not match, because it is not a name. `${{ secrets.X }}` of GitHub does
not match, because of its dollar sign.
"""


class CISystem(msgspec.Struct, frozen=True):
    """A CI system, and the paths of the files that it reads.

    `only_path` is set if it reads one file. Otherwise it reads all files in `directory` that have
    one of the `suffixes`.
    """

    name: str
    directory: str = ""
    suffixes: tuple[str, ...] = ()
    only_path: str = ""

    @property
    def file_names(self) -> str:
        """The names of files that the system reads, for messages."""
        return self.only_path or " or ".join(f"*{suffix}" for suffix in self.suffixes)

    @property
    def default_path(self) -> str:
        """The path of a file without a name of its own."""
        return self.only_path or f"{self.directory}main.yml"

    def accepts(self, name: str) -> bool:
        """Return whether the system reads a file of that name."""
        base = PurePosixPath(name).name
        return base == self.only_path if self.only_path else base.endswith(self.suffixes)

    def path_of(self, name: str) -> str:
        """Return the path in the repository of a file with that name."""
        return self.only_path or self.directory + PurePosixPath(name).name


GITHUB: Final = CISystem("GitHub Actions", ".github/workflows/", (".yml", ".yaml"))
GITLAB: Final = CISystem("GitLab CI", only_path=".gitlab-ci.yml")
JENKINS: Final = CISystem("Jenkins", only_path="Jenkinsfile")
SYSTEMS: Final = {"github": GITHUB, "gitlab": GITLAB, "jenkins": JENKINS}


def map_contents(contents: Mapping[str, str], system: CISystem) -> dict[str, str]:
    """Return the texts of `configContents` by path.

    Raises ValueError with the names of files that the system does not read.
    """
    wrong = [name for name in contents if not system.accepts(name)]
    if wrong:
        raise ValueError(
            f"configContents: {system.name} does not read {', '.join(wrong)}: "
            f"rename to {system.file_names}"
        )
    found = {system.path_of(name): text for name, text in contents.items()}
    if len(found) < len(contents):
        raise ValueError(
            f"configContents: several files get the same path in {system.directory}: "
            f"{', '.join(contents)}. Give each file a name of its own"
        )
    return found


def predict_path(location: str, system: CISystem) -> str | None:
    """Return the path that a file or URL gets, None if `location` may be a directory. Pure."""
    if "://" not in location and not system.accepts(location):
        return None
    name = unquote(urlsplit(location).path) if "://" in location else location
    if system.accepts(name):
        return system.path_of(name)
    return None if location.startswith("file://") else system.default_path


def fetch_files(location: str, system: CISystem, base: Path) -> dict[str, str]:
    """Return the texts at `configLocation` by path.

    Raises ProviderError if it does not exist or has no file for this system.
    """
    scheme = urlsplit(location).scheme if "://" in location else ""
    if scheme in ("http", "https"):
        path = predict_path(location, system) or system.default_path
        return {path: _decode(_download(location), location)}
    if scheme not in ("", "file"):
        raise ProviderError(
            f"configLocation {location} is not supported: "
            "set a path or a URL with file://, http:// or https://"
        )
    place = base / Path(unquote(urlsplit(location).path) if scheme else location).expanduser()
    try:
        return _read_from_disk(place, system)
    except OSError as error:
        raise ProviderError(f"configLocation: cannot read {place}: {error.strerror}") from error


def _read_from_disk(place: Path, system: CISystem) -> dict[str, str]:
    if not place.is_dir():
        path = system.path_of(place.name) if system.accepts(place.name) else system.default_path
        return {path: _decode(place.read_bytes(), str(place))}
    files = sorted(
        file for file in place.rglob("*") if file.is_file() and system.accepts(file.name)
    )
    found = {system.path_of(file.name): _decode(file.read_bytes(), str(file)) for file in files}
    if not found:
        raise ProviderError(
            f"configLocation: {place} has no file for {system.name}",
            hint=f"{system.name} reads {system.file_names}: rename a file, or set another path",
        )
    if len(found) < len(files):
        raise ProviderError(
            f"configLocation: {place} has several files of the same name for {system.name}",
            hint=f"rename them: all files are written to {system.directory}",
        )
    return found


def _decode(data: bytes, where: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ProviderError(f"configLocation: {where} is not UTF-8 text") from None


def _download(url: str) -> bytes:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    try:
        # The caller accepts only http and https.
        with urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310
            # One byte more than allowed is enough to see that the file is too large.
            data: bytes = answer.read(MAX_FILE_SIZE + 1)
    # HTTPError is a subclass of URLError, so it must be caught first.
    except HTTPError as error:
        with error:
            raise _build_http_error(url, error.code, error.reason) from error
    except (URLError, OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise ProviderError(
            f"configLocation: cannot fetch {url}: {reason}", retryable=True
        ) from error
    if len(data) > MAX_FILE_SIZE:
        raise ProviderError(
            f"configLocation: {url} is larger than {MAX_FILE_SIZE >> 20} MiB: "
            "set the URL of a CI file"
        )
    return data


def _build_http_error(url: str, code: int, reason: str) -> ProviderError:
    text = f"configLocation: cannot fetch {url}: {code} {reason}"
    if code in (401, 403):
        return AuthError(text, hint="dtm sends no credentials: set a public URL or a path")
    if code in (404, 410):
        return NotFoundError(
            text, hint="check the URL, or remove configLocation to use the generated file"
        )
    return ProviderError(text, retryable=code == 429 or code >= 500)


def fill_in_variables(
    files: Mapping[str, str], square_values: Mapping[str, Any], curly_values: Mapping[str, Any]
) -> dict[str, str]:
    """Replace `[[ name ]]` and `{{ name }}` by their values.

    If there are no values for one kind of brackets, these are kept. Raises ProviderError with every
    variable that has no value.
    """
    for values, pattern, opening, closing in (
        (square_values, SQUARE_VARIABLE, "[[", "]]"),
        (curly_values, CURLY_VARIABLE, "{{", "}}"),
    ):
        # Without values nothing is replaced, because `{{ x }}` may be syntax of the CI system.
        if values:
            used = {match[1] for text in files.values() for match in pattern.finditer(text)}
            absent = sorted(name for name in used if _lookup(values, name) is None)
            if absent:
                listed = ", ".join(f"{opening} {name} {closing}" for name in absent)
                raise ProviderError(
                    f"the CI files use {listed}, but no value is set",
                    hint="set the missing values in vars "
                    f"(values are set for {', '.join(sorted(values))})",
                )
            files = {
                path: _replace_variables(text, pattern, values) for path, text in files.items()
            }
    return dict(files)


def _replace_variables(text: str, pattern: re.Pattern[str], values: Mapping[str, Any]) -> str:
    return pattern.sub(lambda match: str(_lookup(values, match[1])), text)


def _lookup(values: Mapping[str, Any], name: str) -> object:
    """Return the value of a name: `a.b` is a key, or the key `b` in the map `a`."""
    if name in values:
        return values[name]
    first, _, rest = name.partition(".")
    inner = values.get(first)
    return (
        _lookup(cast("Mapping[str, Any]", inner), rest)
        if rest and isinstance(inner, Mapping)
        else None
    )


def check_files(files: Mapping[str, str], system: CISystem) -> dict[str, bytes]:
    """Return the files as bytes. Raises ProviderError for a YAML file that is not a map."""
    # A Jenkinsfile is Groovy, not YAML.
    for path, text in files.items() if system is not JENKINS else ():
        try:
            root = yaml.compose(text)
        except yaml.YAMLError as error:
            raise ProviderError(
                f"{path} is not valid YAML: {str(error).splitlines()[0]}"
            ) from error
        if not isinstance(root, yaml.MappingNode):
            raise ProviderError(
                f"{path} is not a YAML map, so it defines no jobs",
                hint="set configLocation to the raw file, not to a web page that shows it",
            )
    return {path: text.encode() for path, text in files.items()}
