"""State URLs: `s3://bucket/key?region=eu-west-1` -> settings.

Nothing is opened, and no environment variable is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from engine.config import LockSettings, StateSettings
from engine.errors import UsageError
from engine.lock import parse_lease
from engine.suggestions import find_similar
from engine.values import Value

LATER_BACKENDS: Final = frozenset({"azure", "gcs", "oss", "swift"})
"""Backends that a URL can name, but that this version does not have."""


class UrlForm(msgspec.Struct, frozen=True):
    """The form of the URLs of one scheme.

    `parts` name the pieces between slashes, all needed; the last one takes the rest. `query` names
    the options behind `?`.
    """

    backend: str
    parts: tuple[str, ...]
    query: tuple[str, ...] = ()
    example: str = ""
    fixed: Mapping[str, Value] | None = None


_S3 = (
    "region",
    "endpoint",
    "profile",
    "dynamodbTable",
    "dynamodbEndpoint",
    "awsCredsPath",
    "caBundle",
    "usePathStyle",
    "encrypt",
    "kmsKeyId",
    "acl",
)


def _flavour(scheme: str) -> UrlForm:
    return UrlForm(
        "s3",
        ("bucket", "key"),
        ("region", "endpoint"),
        f"{scheme}://bucket/key",
        {"flavour": scheme},
    )


FORMS: Mapping[str, UrlForm] = {
    "file": UrlForm("local", ("stateFile",), (), "file:///path/to/devstream.state"),
    "s3": UrlForm("s3", ("bucket", "key"), _S3, "s3://bucket/key?region=eu-west-1"),
    **{scheme: _flavour(scheme) for scheme in ("do", "scw", "hos", "linode")},
    "k8s": UrlForm(
        "kubernetes",
        ("namespace", "configmap"),
        ("context", "kubeconfig", "inCluster"),
        "k8s://namespace/configmap?context=name",
    ),
    "gs": UrlForm("gcs", ("bucket", "key"), (), "gs://bucket/key"),
    "azureblob": UrlForm(
        "azure", ("account", "container", "key"), (), "azureblob://account/container/key"
    ),
    "swift": UrlForm("swift", ("container", "key"), (), "swift://container/key"),
    "oss": UrlForm("oss", ("bucket", "key"), ("region",), "oss://bucket/key"),
    "memfs": UrlForm("memory", ("name",), (), "memfs://name"),
}
SETTINGS = ("lock", "lockUrl", "lease", "log", "history")
"""Query keys of every scheme: they stand for `state.lock.*`, `state.log`, `state.history`."""
LOCKS = ("auto", "dynamodb", "native", "both", "none")
LOGS = ("auto", "beside", "inline")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse(url: str) -> StateSettings:
    """Parse a URL or a bare path; a local path stays as written, relative or with `~`.

    Raises UsageError that names the URL and the expected form: a mistyped URL never becomes a file
    of that name.
    """
    trimmed = url.rstrip("/") if url.strip("/") else url[:1]
    if not trimmed.strip():
        raise UsageError("the state URL is empty", hint=_known())
    scheme, rest = _split(trimmed, url)
    if scheme is None:
        return StateSettings("local", {"stateFile": trimmed})
    form = FORMS[scheme]
    path, _, query = rest.partition("?")
    options = dict(form.fixed or {}) | _parts(url, scheme, form, path.rstrip("/"))
    settings: dict[str, str] = {}
    for key, value in _query(url, scheme, form, query):
        if key in SETTINGS:
            settings[key] = value
        else:
            options[key] = value
    return _settings(url, form, options, settings)


def to_url(settings: StateSettings) -> str:
    """Return the URL that `parse` reads as this place, "" if no URL can name it.

    Options that are neither a text nor a number are left out, and so are the lock, the log and the
    history.
    """
    flavour = settings.options.get("flavour")
    for scheme, form in FORMS.items():
        if form.backend == settings.backend and (form.fixed or {}).get("flavour") == flavour:
            parts = [str(settings.options.get(name, "")) for name in form.parts]
            known = {
                name: settings.options[name] for name in form.query if name in settings.options
            }
            plain = {
                name: value
                for name, value in known.items()
                if isinstance(value, str | int) and value != ""
            }
            return f"{scheme}://{'/'.join(parts)}" + (f"?{urlencode(plain)}" if plain else "")
    return ""


def _split(trimmed: str, url: str) -> tuple[str | None, str]:
    """Split into the scheme (None: a bare path) and the text after `://`."""
    scheme, colon, rest = trimmed.partition(":")
    name = scheme.lower()
    if (
        not colon
        or not re.fullmatch(r"[a-z][a-z0-9+.-]*", name)
        or not (rest.startswith("/") or name in FORMS)
    ):
        return None, trimmed
    if name not in FORMS:
        raise UsageError(f"{url}: unknown scheme {name}", hint=_known(name))
    if not rest.startswith("//"):
        raise UsageError(
            f"{url}: expected {FORMS[name].example}", hint="a scheme is followed by two slashes"
        )
    return name, rest[2:]


def _parts(url: str, scheme: str, form: UrlForm, path: str) -> dict[str, Value]:
    if form.backend == "local":
        # Other programs read a host in that place, not a folder.
        if path and not path.startswith("/"):
            raise UsageError(
                f"{url}: expected {form.example}",
                hint=f"a relative path is written without {scheme}://: {path}",
            )
        found = [path]
    else:
        found = path.split("/", len(form.parts) - 1)
        if "@" in found[0] and scheme != "k8s":
            raise UsageError(
                f"{_masked(url)}: credentials do not belong in a URL",
                hint=f"expected {form.example}",
            )
    if len(found) < len(form.parts) or not all(found):
        missing = form.parts[next((i for i, part in enumerate(found) if not part), len(found))]
        raise UsageError(f"{url}: {missing} is missing, expected {form.example}", hint=_why(scheme))
    if scheme == "k8s" and not all(
        re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", part) for part in found
    ):
        misspelt = all(re.fullmatch(r"[\w.-]+", part) for part in found)
        rule = (
            "names in Kubernetes are lower case letters, digits and -, and begin and end with no -"
        )
        raise UsageError(f"{url}: expected {form.example}", hint=rule if misspelt else _why(scheme))
    return dict(zip(form.parts, found, strict=True))


def _why(scheme: str) -> str:
    """Explain how a scheme differs from the URLs of other programs."""
    match scheme:
        case "k8s":
            return (
                "kops writes a context behind k8s://; here it is namespace and ConfigMap, "
                "and the context is an option"
            )
        case "azureblob":
            return "the storage account is part of the URL now, AZURE_STORAGE_ACCOUNT is not read"
        case _:
            return ""


def _query(url: str, scheme: str, form: UrlForm, query: str) -> list[tuple[str, str]]:
    known = (*form.query, *SETTINGS)
    pairs: list[tuple[str, str]] = []
    for key, value in parse_qsl(query, keep_blank_values=True):
        name = re.sub(r"_([a-z])", lambda found: found[1].upper(), key)
        if name not in known:
            meant = find_similar(name, known)
            raise UsageError(
                f"{url}: {scheme}:// has no option {key}",
                hint=f"did you mean {meant}?" if meant else f"known: {', '.join(known)}",
            )
        if not value or name in dict(pairs):
            raise UsageError(f"{url}: option {key} is {'given twice' if value else 'empty'}")
        pairs.append((name, value))
    return pairs


def _settings(
    url: str, form: UrlForm, options: dict[str, Value], given: Mapping[str, str]
) -> StateSettings:
    lock = LockSettings(
        _one_of(url, "lock", given.get("lock", "auto"), LOCKS),
        given.get("lockUrl", ""),
        _seconds(url, given["lease"]) if "lease" in given else None,
    )
    history = given.get("history", "30")
    if not history.isascii() or not history.isdigit() or int(history) < 1:
        raise UsageError(f'{url}: history "{history}" is no number of states to keep')
    return StateSettings(
        form.backend,
        options,
        lock,
        _one_of(url, "log", given.get("log", "auto"), LOGS),
        int(history),
    )


def _one_of(url: str, name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise UsageError(f'{url}: {name} "{value}" must be one of {", ".join(choices)}')
    return value


def _seconds(url: str, text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if not found or not float(found[1]):
        raise UsageError(f'{url}: lease "{text}" is no duration, expected such as 30s or 2m')
    lease = parse_lease(float(found[1]) * UNITS[found[2]])
    if lease is None:
        raise UsageError(f'{url}: lease "{text}" is longer than 24h')
    return lease


def _masked(url: str) -> str:
    return re.sub(r"://[^/]*@", "://***@", url)


def _known(scheme: str = "") -> str:
    """Suggest a URL that this version can open."""
    there = {
        name: form
        for name, form in FORMS.items()
        if form.backend not in ("memory", *LATER_BACKENDS)
    }
    if meant := find_similar(scheme, there):
        return f"did you mean {there[meant].example}?"
    return "expected a path or one of " + ", ".join(form.example for form in there.values())
