"""State URLs such as `s3://bucket/key?region=eu-west-1`, parsed into settings.

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
"""Backends that a URL can name, but that this version does not support yet."""


class UrlForm(msgspec.Struct, frozen=True):
    """The form of the URLs with one scheme.

    `parts` are the options between the slashes. All of them are required, and the last one takes
    the rest of the path. `query` are the options after `?`. `fixed` are options that follow from
    the scheme.
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
"""Query keys of every scheme, for `state.lock.*`, `state.log` and `state.history`."""
LOCKS = ("auto", "dynamodb", "native", "both", "none")
LOGS = ("auto", "beside", "inline")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse(url: str) -> StateSettings:
    """Parse a URL or a local path; a path is kept as written, relative or with `~`.

    Raises UsageError with the URL and the expected form.
    """
    # A mistyped URL must be an error: otherwise it would become a local file with that name.
    trimmed = url.rstrip("/") if url.strip("/") else url[:1]
    if not trimmed.strip():
        raise UsageError("the state URL is empty", hint=_suggest_url())
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
    """Return the URL that `parse` turns into these settings, "" if there is none.

    Left out are the lock, the log and the history, and options that are neither text nor a number,
    such as secrets.
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
    """Split a URL into its scheme (None for a local path) and the text after `://`."""
    scheme, colon, rest = trimmed.partition(":")
    name = scheme.lower()
    if (
        not colon
        or not re.fullmatch(r"[a-z][a-z0-9+.-]*", name)
        or not (rest.startswith("/") or name in FORMS)
    ):
        return None, trimmed
    if name not in FORMS:
        raise UsageError(f"{url}: unknown scheme {name}", hint=_suggest_url(name))
    if not rest.startswith("//"):
        hint = (
            "put the rest of the URL after the two slashes"
            if url.strip().lower() == f"{name}://"
            else "put two slashes after the scheme"
        )
        raise UsageError(f"{url}: expected {FORMS[name].example}", hint=hint)
    return name, rest[2:]


def _parts(url: str, scheme: str, form: UrlForm, path: str) -> dict[str, Value]:
    if form.backend == "local":
        # In a URL the first part after `//` is a host: a relative path there would be ambiguous.
        if path and not path.startswith("/"):
            raise UsageError(
                f"{url}: expected {form.example}",
                hint=f"write a relative path without {scheme}://: {path}",
            )
        found = [path]
    else:
        found = path.split("/", len(form.parts) - 1)
        if "@" in found[0] and scheme != "k8s":
            raise UsageError(
                f"{_mask_credentials(url)}: credentials do not belong in a URL",
                hint=f"use {form.example}, and pass the credentials as environment variables",
            )
    if len(found) < len(form.parts) or not all(found):
        missing = form.parts[next((i for i, part in enumerate(found) if not part), len(found))]
        raise UsageError(
            f"{url}: {missing} is missing, expected {form.example}", hint=_explain(scheme)
        )
    if scheme == "k8s" and not all(
        re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", part) for part in found
    ):
        only_bad_names = all(re.fullmatch(r"[\w.-]+", part) for part in found)
        rule = (
            "use lower-case letters, digits and - in Kubernetes names; "
            "they must not begin or end with -"
        )
        raise UsageError(
            f"{url}: expected {form.example}", hint=rule if only_bad_names else _explain(scheme)
        )
    return dict(zip(form.parts, found, strict=True))


def _explain(scheme: str) -> str:
    """Explain how the URLs of a scheme differ from those of other programs."""
    match scheme:
        case "k8s":
            return (
                "put the namespace and the ConfigMap after k8s://, not a context as in kops; "
                "name the context with ?context=NAME"
            )
        case "azureblob":
            return "put the storage account into the URL; AZURE_STORAGE_ACCOUNT is not read"
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
                hint=f"check the spelling: {meant} is similar"
                if meant
                else f"use one of {', '.join(known)}",
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
        raise UsageError(
            f'{url}: history "{history}" is not a number of snapshots to keep (1 or more)'
        )
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
        raise UsageError(f'{url}: lease "{text}" is not a duration such as 30s or 2m')
    lease = parse_lease(float(found[1]) * UNITS[found[2]])
    if lease is None:
        raise UsageError(f'{url}: lease "{text}" is longer than 24h')
    return lease


def _mask_credentials(url: str) -> str:
    return re.sub(r"://[^/]*@", "://***@", url)


def _suggest_url(scheme: str = "") -> str:
    """Suggest a URL that this version supports, as similar to `scheme` as possible."""
    supported = {
        name: form
        for name, form in FORMS.items()
        if form.backend not in ("memory", *LATER_BACKENDS)
    }
    if meant := find_similar(scheme, supported):
        return f"check the spelling: {supported[meant].example} is similar"
    return "use a path, or one of " + ", ".join(form.example for form in supported.values())
