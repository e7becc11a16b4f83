"""CI files that the user brings: in the options, on this machine, or behind a URL."""

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
MAX_FILE_SIZE: Final = 4 << 20
SQUARE_VARIABLE: Final = re.compile(r"(?<!\$)\[\[\s*\.?([A-Za-z_][\w.-]*)\s*\]\]")
CURLY_VARIABLE: Final = re.compile(r"(?<!\$)\{\{\s*\.?([A-Za-z_][\w.-]*)\s*\}\}")
"""Variables in CI files are dotted names, which a shell's `[[ -f x ]]` is not, and never behind a
dollar, as GitHub's `${{ secrets.X }}` is."""


class CISystem(msgspec.Struct, frozen=True):
    """A CI system, and the places where it looks for its files.

    `fixed` is the only path it knows, "" where `directory` holds any number of files with these
    `suffixes`.
    """

    name: str
    directory: str = ""
    suffixes: tuple[str, ...] = ()
    only_path: str = ""

    @property
    def file_names(self) -> str:
        """Describe the names of files that the system looks at."""
        return self.only_path or " or ".join(f"*{suffix}" for suffix in self.suffixes)

    @property
    def default_path(self) -> str:
        """Name the path of the one file if nothing names another."""
        return self.only_path or f"{self.directory}main.yml"

    def accepts(self, name: str) -> bool:
        """Tell if a file of that name is one of this system's."""
        base = PurePosixPath(name).name
        return base == self.only_path if self.only_path else base.endswith(self.suffixes)

    def path_of(self, name: str) -> str:
        """Name the path that a file of that name goes to."""
        return self.only_path or self.directory + PurePosixPath(name).name


GITHUB: Final = CISystem("GitHub Actions", ".github/workflows/", (".yml", ".yaml"))
GITLAB: Final = CISystem("GitLab CI", only_path=".gitlab-ci.yml")
JENKINS: Final = CISystem("Jenkins", only_path="Jenkinsfile")
SYSTEMS: Final = {"github": GITHUB, "gitlab": GITLAB, "jenkins": JENKINS}


def map_contents(contents: Mapping[str, str], system: CISystem) -> dict[str, str]:
    """Map paths to the texts of `configContents`.

    Raises ValueError with the names of files that the system would not look at.
    """
    wrong = [name for name in contents if not system.accepts(name)]
    if wrong:
        raise ValueError(
            f"configContents: {system.name} looks only at {system.file_names}, "
            f"not at {', '.join(wrong)}"
        )
    found = {system.path_of(name): text for name, text in contents.items()}
    if len(found) < len(contents):
        raise ValueError(
            f"configContents: several files would become one in {system.directory}: "
            f"{', '.join(contents)}"
        )
    return found


def predict_path(location: str, system: CISystem) -> str | None:
    """Name the path that one file or URL becomes; None if `location` may be a directory. Pure."""
    if "://" not in location and not system.accepts(location):
        return None
    name = unquote(urlsplit(location).path) if "://" in location else location
    if system.accepts(name):
        return system.path_of(name)
    return None if location.startswith("file://") else system.default_path


def fetch_files(location: str, system: CISystem, base: Path) -> dict[str, str]:
    """Map paths to the texts at `configLocation`.

    Raises ProviderError if there is nothing, or nothing usable.
    """
    scheme = urlsplit(location).scheme if "://" in location else ""
    if scheme in ("http", "https"):
        path = predict_path(location, system) or system.default_path
        return {path: _decode(_download(location), location)}
    if scheme not in ("", "file"):
        raise ProviderError(
            f"configLocation {location}: only paths, file://, http:// and https:// are known"
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
            f"configLocation: {place} holds no file for {system.name}",
            hint=f"it looks for {system.file_names}",
        )
    if len(found) < len(files):
        raise ProviderError(
            f"configLocation: {place} holds several files of the same name for {system.name}"
        )
    return found


def _decode(data: bytes, where: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ProviderError(f"configLocation: {where} is not text") from None


def _download(url: str) -> bytes:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    try:
        # The caller lets only http and https through.
        with urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310
            # One byte more than allowed shows that the file is too large, without reading it all.
            data: bytes = answer.read(MAX_FILE_SIZE + 1)
    # A URLError too, so it comes first.
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
            f"configLocation: {url} is larger than {MAX_FILE_SIZE >> 20} MiB, which no CI file is"
        )
    return data


def _build_http_error(url: str, code: int, reason: str) -> ProviderError:
    text = f"configLocation: {url} answers {code} {reason}"
    if code in (401, 403):
        return AuthError(text, hint="it is fetched without credentials: use a public URL or a path")
    if code in (404, 410):
        return NotFoundError(
            text, hint="check the URL, or leave configLocation out for the built-in file"
        )
    return ProviderError(text, retryable=code == 429 or code >= 500)


def fill_in_variables(
    files: Mapping[str, str], square_values: Mapping[str, Any], curly_values: Mapping[str, Any]
) -> dict[str, str]:
    """Replace `[[ name ]]` by the values in `square` and `{{ name }}` by those in `curly`.

    Where there are no values at all, the texts stay as they are. Raises ProviderError with every
    variable that has no value.
    """
    for values, pattern, opening, closing in (
        (square_values, SQUARE_VARIABLE, "[[", "]]"),
        (curly_values, CURLY_VARIABLE, "{{", "}}"),
    ):
        # Without variables nothing is replaced: `{{ x }}` may be the CI system's own syntax.
        if values:
            used = {match[1] for text in files.values() for match in pattern.finditer(text)}
            absent = sorted(name for name in used if _lookup(values, name) is None)
            if absent:
                listed = ", ".join(f"{opening} {name} {closing}" for name in absent)
                raise ProviderError(
                    f"the CI files use {listed}, which vars do not have",
                    hint=f"they have {', '.join(sorted(values))}",
                )
            files = {
                path: _replace_variables(text, pattern, values) for path, text in files.items()
            }
    return dict(files)


def _replace_variables(text: str, pattern: re.Pattern[str], values: Mapping[str, Any]) -> str:
    return pattern.sub(lambda match: str(_lookup(values, match[1])), text)


def _lookup(values: Mapping[str, Any], name: str) -> object:
    """Look a name up: `a.b` is a key, or a key inside a map."""
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
    """Encode the files; raises ProviderError where the system wants a YAML map and gets none."""
    # A Jenkinsfile is Groovy.
    for path, text in files.items() if system is not JENKINS else ():
        try:
            root = yaml.compose(text)
        except yaml.YAMLError as error:
            raise ProviderError(
                f"{path} would not be YAML: {str(error).splitlines()[0]}"
            ) from error
        if not isinstance(root, yaml.MappingNode):
            raise ProviderError(
                f"{path} would hold no jobs: it is no YAML map",
                hint="is configLocation a raw file?",
            )
    return {path: text.encode() for path, text in files.items()}
