"""State in ConfigMaps of one namespace: each key is one, compared and swapped by its resourceVersion.

A value is gzip in `binaryData`. What does not fit into one ConfigMap stands in parts, each made once and never changed,
behind an index that is swapped last: readers see all of the old or all of the new.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Annotated, Final

import msgspec
from msgspec.structs import replace

from backends.kubernetes.api import SECONDS, Absent, Clash, Cluster
from backends.kubernetes.configmaps import ConfigMap, ConfigMaps, Metadata
from backends.kubernetes.kubeconfig import Access, find_access
from backends.lockers.object import ObjectLocker
from engine.errors import (
    ConfigError,
    ConflictError,
    DtmError,
    OutcomeUnknownError,
    Problem,
    StoreError,
    StoreUnavailableError,
)
from engine.ports import Opened, Snapshot, Version
from engine.schema import Field, Options
from engine.values import Value

PART: Final = 900 * 1024
"""Compressed bytes in one ConfigMap; Kubernetes takes 1 MiB in all."""
TURNS: Final = 20
"""Times that we begin again because somebody else was faster."""
VALUE, DEVSTREAM = "value.gz", "state"
KEY, PARTS = "dtm/key", "dtm/parts"
"""Annotations: the key as it is, and `generation/count` of the parts."""
KIND, PART_OF = "app.kubernetes.io/component", "dtm/part-of"
NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LONGEST = 220
"""Of a name; Kubernetes takes 253, and parts need some more."""


class KubernetesOptions(Options, frozen=True, kw_only=True):
    """A state in a ConfigMap."""

    namespace: Annotated[
        str, Field("where the ConfigMaps are; made if it does not exist", example="devstream")
    ] = "devstream"
    configmap: Annotated[
        str, Field("the ConfigMap of the state; others begin with its name", example="state")
    ] = "state"
    context: Annotated[
        str, Field("of the kubeconfig; its current one if absent", example="production")
    ] = ""
    kubeconfig: Annotated[
        str, Field("a file; else KUBECONFIG, ~/.kube/config, a pod's account", example="kubeconfig")
    ] = ""
    in_cluster: Annotated[
        bool | None, Field("use the account of the pod that dtm runs in", example=True)
    ] = None
    timeout: Annotated[
        float, Field("seconds to wait for a connection, and for each answer", gt=0)
    ] = SECONDS


OPTIONS = KubernetesOptions


def name_of(key: str) -> str:
    """The ConfigMap of a key: `a.log` is itself, `a.log.d/x` is `a.log.x`, `a.history/x` is `a.history.x`.

    A key that makes no legal name, or one too long, gets a legal beginning and a digest.
    """
    name = key.replace(".d/", ".").replace("/", ".")
    if NAME.fullmatch(name) and len(name) <= LONGEST:
        return name
    start = re.sub("[^a-z0-9]+", "-", key.lower())[:100].strip("-")
    return f"{start or 'key'}-{_digest(key)}"


class KubernetesStore:
    """`engine.ports.Store` over the ConfigMaps in `maps` that are labelled with `state`.

    Writing the very bytes that are there keeps their version, as Kubernetes does. What was last seen of each ConfigMap is
    remembered, so that a write or delete of that version is one request.
    """

    def __init__(self, maps: ConfigMaps, state: str) -> None:
        self._maps = maps
        self._labels = {
            "app.kubernetes.io/managed-by": "dtm",
            "app.kubernetes.io/instance": _label(state),
        }
        self._seen: dict[str, Metadata] = {}

    @property
    def location(self) -> str:
        """`k8s://namespace`."""
        return f"k8s://{self._maps.namespace}"

    def read(self, key: str) -> Snapshot | None:
        """See `engine.ports.Store.read`. In a namespace that does not exist there is nothing: the first write makes it."""
        version = None
        for _ in range(TURNS):
            found = self._maps.read(name_of(key))
            if found is None:
                return None
            self._seen[key] = found.metadata
            data = self._value(key, found)
            if data is not None:
                return Snapshot(data, found.metadata.resource_version)
            if found.metadata.resource_version == version:
                raise StoreError(f"{self._where(key)} is damaged: a part of its value is missing")
            version = found.metadata.resource_version
        raise self._too_fast(key)

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """See `engine.ports.Store.write`. Makes the namespace if there is none."""
        packed = gzip.compress(data, 6, mtime=0)
        if len(packed) > PART:
            return self._write_parts(key, packed, expect)
        return self._swap(key, {VALUE: packed}, expect)

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        """See `engine.ports.Store.delete`."""
        for _ in range(TURNS):
            seen = self._known(key, expect)
            if seen is None:
                return
            if expect not in (None, seen.resource_version):
                raise ConflictError(key, expect, seen.resource_version)
            self._seen.pop(key, None)
            if self._maps.remove(seen.name, seen.resource_version):
                self._sweep(_parts(seen))
                return
        raise self._too_fast(key)

    def list(self, prefix: str) -> Iterator[str]:
        """See `engine.ports.Store.list`. A ConfigMap that DevStream made is a key once it is written."""
        keys: list[str] = []
        for found in self._maps.list(self._labels | {KIND: "value"}):
            key = found.annotations.get(KEY, "")
            if (
                key.startswith(prefix) and name_of(key) == found.name
            ):  # a copy under another name is no key
                keys.append(key)
                self._seen[key] = found
        return iter(sorted(keys))

    def close(self) -> None:
        """Give the connections back; the store stays usable."""
        self._maps.close()

    def _where(self, key: str) -> str:
        return f"ConfigMap {name_of(key)} in namespace {self._maps.namespace}"

    def _too_fast(self, key: str) -> StoreUnavailableError:
        return StoreUnavailableError(f"{self._where(key)} changes too fast")

    def _known(self, key: str, version: Version | None) -> Metadata | None:
        """What we saw of the key last, if it was that version (None: any); else what is there now."""
        seen = self._seen.get(key)
        if seen is not None and version in (None, seen.resource_version):
            return seen
        found = self._maps.read(name_of(key), content=False)
        if found is None:
            self._seen.pop(key, None)
            return None
        self._seen[key] = found.metadata
        return found.metadata

    def _value(self, key: str, found: ConfigMap) -> bytes | None:
        """The bytes of a key, None if one of its parts is gone. What somebody spoilt by hand is returned as it is."""
        names = _parts(found.metadata)
        if foreign := {*found.data, *found.binary_data} - (
            {VALUE} if found.binary_data or names else {DEVSTREAM}
        ):
            raise StoreError(
                f"{self._where(key)} holds something else too: {', '.join(sorted(foreign))}",
                hint="the state needs a ConfigMap of its own: name another one, or find out who wrote into this one",
            )
        if found.data:
            return found.data[DEVSTREAM].encode()
        if not names:
            return _unpacked(found.binary_data.get(VALUE, b""))
        parts = [part for name in names if (part := self._maps.read(name))]
        return (
            _unpacked(b"".join(part.binary_data.get(VALUE, b"") for part in parts))
            if len(parts) == len(names)
            else None
        )

    def _swap(
        self,
        key: str,
        content: dict[str, bytes],
        expect: Version | None,
        parts: str = "",
        rubbish: Iterable[str] = (),
    ) -> Version:
        """The one request that decides; then what is rubbish from then on goes, and the parts of what it replaced."""
        old = None if expect is None else self._known(key, expect)
        if expect is not None and (old is None or old.resource_version != expect):
            raise ConflictError(key, expect, old.resource_version if old else None)
        wanted = ConfigMap(
            self._metadata(key, parts, old or Metadata(name_of(key))), binary_data=content
        )
        try:
            made = self._maps.replace(wanted) if old else self._maps.create(wanted)
        except (Absent, Clash) as error:
            raise self._conflict(key, expect) from error
        self._seen[key] = made.metadata
        self._sweep({*rubbish, *(_parts(old) if old else ())})
        return made.metadata.resource_version

    def _metadata(self, key: str, parts: str, old: Metadata) -> Metadata:
        """With our labels and annotations beside those that others put there."""
        others = {name: value for name, value in old.annotations.items() if name != PARTS}
        labels = {**old.labels, **self._labels, KIND: "value"}
        return replace(
            old,
            labels=labels,
            annotations={**others, KEY: key, **({PARTS: parts} if parts else {})},
        )

    def _conflict(self, key: str, expect: Version | None) -> ConflictError:
        """With the version that is there now, as far as that can be told."""
        self._seen.pop(key, None)
        with suppress(StoreError):
            self._known(key, None)
        found = self._seen.get(key)
        return ConflictError(key, expect, found.resource_version if found else None)

    def _write_parts(self, key: str, packed: bytes, expect: Version | None) -> Version:
        """Parts first, then the index, then away with parts that no index names.

        Those that stood there before the swap belong to writers whose version is history now: they cannot win any more.
        """
        pieces = [packed[start : start + PART] for start in range(0, len(packed), PART)]
        parts = f"{token_hex(4)}/{len(pieces)}"
        names, labels = _part_names(name_of(key), parts), {**self._labels, PART_OF: _digest(key)}
        rubbish = [found.name for found in self._maps.list(labels)]
        made = [
            ConfigMap(Metadata(name, labels={**labels, KIND: "part"}), binary_data={VALUE: piece})
            for name, piece in zip(names, pieces, strict=True)
        ]
        try:
            self._make_parts(made)
            return self._swap(key, {}, expect, parts, rubbish)
        except StoreError:  # surely not swapped; after an unknown outcome the parts may be needed
            self._sweep(names)
            raise

    def _make_parts(self, parts: Iterable[ConfigMap]) -> None:
        """Raises StoreUnavailableError where it is unknown whether one was made: the key itself is untouched."""
        try:
            for part in parts:
                self._maps.create(part)
        except OutcomeUnknownError as error:
            raise StoreUnavailableError(error.message) from error

    def _sweep(self, names: Iterable[str]) -> None:
        """Remove parts that nobody needs; what stays is rubbish, and no reason to fail."""
        for name in names:
            with suppress(DtmError):
                self._maps.remove(name)


def _part_names(name: str, parts: str) -> tuple[str, ...]:
    """The ConfigMaps that hold the value of `name` in parts, by its annotation."""
    generation, _, count = parts.partition("/")
    return tuple(f"{name}.part.{generation}-{number}" for number in range(int(count or 0)))


def _parts(seen: Metadata) -> tuple[str, ...]:
    return _part_names(seen.name, seen.annotations.get(PARTS, ""))


def _unpacked(packed: bytes) -> bytes:
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError, zlib.error):
        return packed


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _label(state: str) -> str:
    """The value of a label, which may be shorter than a name."""
    return state if LABEL.fullmatch(state) else _digest(state)


POLICY = """\
# What dtm needs for the state in k8s://{namespace}/{configmap}, for kubectl apply -f -
# Whoever only plans needs no more than get and list.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: dtm-state
  namespace: {namespace}
rules:
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, create, update, delete]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: dtm-state
  namespace: {namespace}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: dtm-state}}
subjects:  # put your people and jobs here
- {{kind: Group, name: dtm, apiGroup: rbac.authorization.k8s.io}}
- {{kind: ServiceAccount, name: dtm, namespace: {namespace}}}
"""


class KubernetesPlace:
    """`engine.ports.Creating`: the namespace."""

    def __init__(self, maps: ConfigMaps, configmap: str) -> None:
        self._maps, self._configmap = maps, configmap

    def missing(self) -> list[str]:
        """See `engine.ports.Creating.missing`."""
        return (
            []
            if self._maps.has_namespace()
            else [f"namespace {self._maps.namespace} does not exist"]
        )

    def create(self) -> list[str]:
        """See `engine.ports.Creating.create`."""
        missing = self.missing()
        return (
            [f"namespace {self._maps.namespace}"] if missing and self._maps.make_namespace() else []
        )

    def close(self) -> None:
        """Give the connections back."""
        self._maps.close()

    def policy(self) -> str:
        """See `engine.ports.Creating.policy`: a Role and its RoleBinding."""
        return POLICY.format(namespace=self._maps.namespace, configmap=self._configmap)


def open_backend(options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]) -> Opened:
    """See `engine.ports.Backend`; the kubeconfig is read, and the cluster asked, at the first use."""
    maps, configmap = _maps(options, base_dir, env)
    store = KubernetesStore(maps, configmap)
    return Opened(store, configmap, {"native": lambda: ObjectLocker(store)}, certain=True)


def creating(
    options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]
) -> KubernetesPlace:
    """See `engine.ports.Backend`."""
    return KubernetesPlace(*_maps(options, base_dir, env))


def _maps(
    options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]
) -> tuple[ConfigMaps, str]:
    try:
        chosen = msgspec.convert(options, KubernetesOptions)
    except msgspec.ValidationError as error:
        raise ConfigError((Problem("", str(error)),)) from error
    if problems := tuple(_problems(chosen)):
        raise ConfigError(problems)

    def find() -> Access:
        return find_access(chosen.kubeconfig, chosen.context, chosen.in_cluster, base_dir, env)

    place = f"k8s://{chosen.namespace}/{chosen.configmap}"
    return ConfigMaps(
        Cluster(find, place, env, (chosen.timeout, chosen.timeout)), chosen.namespace
    ), chosen.configmap


def _problems(options: KubernetesOptions) -> Iterator[Problem]:
    if not LABEL.fullmatch(options.namespace):
        yield Problem(
            "namespace",
            f'"{options.namespace}" is no name of a namespace',
            "lower case, digits and -, at most 63",
        )
    if not NAME.fullmatch(options.configmap) or len(options.configmap) > 180:
        yield Problem(
            "configmap",
            f'"{options.configmap}" is no name of a ConfigMap',
            "lower case, digits, - and ., at most 180",
        )
    for name in ("kubeconfig", "context"):
        if options.in_cluster and getattr(options, name):
            yield Problem(name, "means nothing together with inCluster: true")
