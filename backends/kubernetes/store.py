"""State in ConfigMaps of one namespace: one per key, compared and swapped by its resourceVersion.

A value is gzip in `binaryData`. A value too large for one ConfigMap stands in parts, each created
once and never changed, behind an index that is swapped last: readers see all of the old value or
all of the new one.
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

from backends.kubernetes.api import (
    SECONDS,
    Cluster,
    KubernetesConflictError,
    KubernetesNotFoundError,
)
from backends.kubernetes.configmaps import ConfigMap, ConfigMaps, Metadata
from backends.kubernetes.kubeconfig import ClusterAccess, find_access
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
from engine.ports import OpenedBackend, Snapshot, Version
from engine.schema import Field, Options
from engine.values import Value

PART: Final = 900 * 1024
"""Compressed bytes in one ConfigMap; Kubernetes takes 1 MiB in all."""
ATTEMPTS: Final = 20
"""Attempts of an operation that another client overtakes."""
VALUE, DEVSTREAM = "value.gz", "state"
KEY, PARTS = "dtm/key", "dtm/parts"
"""Annotations: the key itself, and `generation/count` of the parts."""
KIND, PART_OF = "app.kubernetes.io/component", "dtm/part-of"
NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LONGEST = 220
"""The longest name of a key; Kubernetes takes 253, and the names of parts are longer."""


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


def configmap_name(key: str) -> str:
    """Return the name of the ConfigMap of a key.

    `a.log` is itself, `a.log.d/x` is `a.log.x`, `a.history/x` is `a.history.x`. A key that makes
    an illegal name, or one too long, gets a legal beginning and a digest.
    """
    name = key.replace(".d/", ".").replace("/", ".")
    if NAME.fullmatch(name) and len(name) <= LONGEST:
        return name
    start = re.sub("[^a-z0-9]+", "-", key.lower())[:100].strip("-")
    return f"{start or 'key'}-{_digest(key)}"


class KubernetesStore:
    """`engine.ports.Store` over the ConfigMaps in `maps` that are labelled with `state`.

    Writing exactly the bytes that are there keeps their version, as Kubernetes does. The store
    remembers the metadata of each ConfigMap that it saw, so that a write or delete of that
    version is one request.
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
        """See `engine.ports.Store.read`. A missing namespace holds no keys."""
        version = None
        for _ in range(ATTEMPTS):
            found = self._maps.read(configmap_name(key))
            if found is None:
                return None
            self._seen[key] = found.metadata
            data = self._value(key, found)
            if data is not None:
                return Snapshot(data, found.metadata.resource_version)
            # The same index twice: its part is not being replaced by another client, it is gone.
            if found.metadata.resource_version == version:
                raise StoreError(f"{self._where(key)} is damaged: a part of its value is missing")
            version = found.metadata.resource_version
        raise self._overtaken(key)

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """See `engine.ports.Store.write`. Creates the namespace if there is none."""
        # mtime=0: equal data must give equal bytes, and thereby keep the version.
        packed = gzip.compress(data, 6, mtime=0)
        if len(packed) > PART:
            return self._write_parts(key, packed, expect)
        return self._swap(key, {VALUE: packed}, expect)

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        """See `engine.ports.Store.delete`."""
        for _ in range(ATTEMPTS):
            seen = self._known(key, expect)
            if seen is None:
                return
            if expect not in (None, seen.resource_version):
                raise ConflictError(key, expect, seen.resource_version)
            self._seen.pop(key, None)
            if self._maps.remove(seen.name, seen.resource_version):
                # After the index: a reader must not find an index whose parts are gone.
                self._remove_unused(_parts(seen))
                return
        raise self._overtaken(key)

    def list(self, prefix: str) -> Iterator[str]:
        """See `engine.ports.Store.list`. Leaves out ConfigMaps that dtm has not written."""
        keys: list[str] = []
        for found in self._maps.list(self._labels | {KIND: "value"}):
            key = found.annotations.get(KEY, "")
            # A copy under another name is not the key's ConfigMap.
            if key.startswith(prefix) and configmap_name(key) == found.name:
                keys.append(key)
                self._seen[key] = found
        return iter(sorted(keys))

    def close(self) -> None:
        """Close the connections; the store stays usable."""
        self._maps.close()

    def _where(self, key: str) -> str:
        return f"ConfigMap {configmap_name(key)} in namespace {self._maps.namespace}"

    def _overtaken(self, key: str) -> StoreUnavailableError:
        return StoreUnavailableError(f"{self._where(key)} changes too fast")

    def _known(self, key: str, version: Version | None) -> Metadata | None:
        """Return the metadata last seen if it has `version` (None: any), else read it."""
        seen = self._seen.get(key)
        if seen is not None and version in (None, seen.resource_version):
            return seen
        found = self._maps.read(configmap_name(key), content=False)
        if found is None:
            self._seen.pop(key, None)
            return None
        self._seen[key] = found.metadata
        return found.metadata

    def _value(self, key: str, found: ConfigMap) -> bytes | None:
        """Return the bytes of a key, None if one of its parts is gone.

        Bytes that were edited by hand and are not gzip any more are returned as they are.
        """
        names = _parts(found.metadata)
        if foreign := {*found.data, *found.binary_data} - (
            {VALUE} if found.binary_data or names else {DEVSTREAM}
        ):
            raise StoreError(
                f"{self._where(key)} holds something else too: {', '.join(sorted(foreign))}",
                hint="the state needs a ConfigMap of its own: name another one, "
                "or find out who wrote into this one",
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
        unused: Iterable[str] = (),
    ) -> Version:
        """Swap the ConfigMap of the key; then remove `unused` and the parts of the old value."""
        old = None if expect is None else self._known(key, expect)
        if expect is not None and (old is None or old.resource_version != expect):
            raise ConflictError(key, expect, old.resource_version if old else None)
        wanted = ConfigMap(
            self._metadata(key, parts, old or Metadata(configmap_name(key))), binary_data=content
        )
        try:
            # The metadata names the version, so the server refuses a swap of any other one.
            made = self._maps.replace(wanted) if old else self._maps.create(wanted)
        except (KubernetesNotFoundError, KubernetesConflictError) as error:
            raise self._conflict(key, expect) from error
        self._seen[key] = made.metadata
        self._remove_unused({*unused, *(_parts(old) if old else ())})
        return made.metadata.resource_version

    def _metadata(self, key: str, parts: str, old: Metadata) -> Metadata:
        """Add the labels and annotations of dtm to those that other tools put there."""
        others = {name: value for name, value in old.annotations.items() if name != PARTS}
        labels = {**old.labels, **self._labels, KIND: "value"}
        return replace(
            old,
            labels=labels,
            annotations={**others, KEY: key, **({PARTS: parts} if parts else {})},
        )

    def _conflict(self, key: str, expect: Version | None) -> ConflictError:
        """Return the conflict with the version that is there now, if it can be read."""
        self._seen.pop(key, None)
        # A failed read must not hide that there was a conflict.
        with suppress(StoreError):
            self._known(key, None)
        found = self._seen.get(key)
        return ConflictError(key, expect, found.resource_version if found else None)

    def _write_parts(self, key: str, packed: bytes, expect: Version | None) -> Version:
        """Write the parts, then the index, then remove the parts that no index names.

        The parts that stood there before the swap belong to writers that expect an older version:
        their swap cannot succeed any more.
        """
        pieces = [packed[start : start + PART] for start in range(0, len(packed), PART)]
        # A new generation for each write: parts of two writers never mix.
        parts = f"{token_hex(4)}/{len(pieces)}"
        names, labels = (
            _part_names(configmap_name(key), parts),
            {**self._labels, PART_OF: _digest(key)},
        )
        # Listed before the new parts are made, which must not be among them.
        unused = [found.name for found in self._maps.list(labels)]
        made = [
            ConfigMap(Metadata(name, labels={**labels, KIND: "part"}), binary_data={VALUE: piece})
            for name, piece in zip(names, pieces, strict=True)
        ]
        try:
            self._make_parts(made)
            return self._swap(key, {}, expect, parts, unused)
        except StoreError:
            # Certainly not swapped. After an unknown outcome the new index may need the parts.
            self._remove_unused(names)
            raise

    def _make_parts(self, parts: Iterable[ConfigMap]) -> None:
        """Create the parts.

        An unknown outcome of one becomes a StoreUnavailableError: the key itself is unchanged.
        """
        try:
            for part in parts:
                self._maps.create(part)
        except OutcomeUnknownError as error:
            raise StoreUnavailableError(error.message) from error

    def _remove_unused(self, names: Iterable[str]) -> None:
        """Remove parts. One that cannot be removed stays, and does no harm."""
        for name in names:
            with suppress(DtmError):
                self._maps.remove(name)


def _part_names(name: str, parts: str) -> tuple[str, ...]:
    """Return the names of the ConfigMaps that hold the value of `name`, by its annotation."""
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
    """Return the value of the state's label: its name, or a digest of a name too long."""
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


class KubernetesProvisioner:
    """`engine.ports.Provisioner` for the namespace."""

    def __init__(self, maps: ConfigMaps, configmap: str) -> None:
        self._maps, self._configmap = maps, configmap

    def missing(self) -> list[str]:
        """See `engine.ports.Provisioner.missing`."""
        if self._maps.has_namespace():
            return []
        return [f"namespace {self._maps.namespace} does not exist"]

    def create(self) -> list[str]:
        """See `engine.ports.Provisioner.create`."""
        made = not self._maps.has_namespace() and self._maps.make_namespace()
        return [f"namespace {self._maps.namespace}"] if made else []

    def close(self) -> None:
        """Close the connections."""
        self._maps.close()

    def policy(self) -> str:
        """See `engine.ports.Provisioner.policy`: a Role and its RoleBinding."""
        return POLICY.format(namespace=self._maps.namespace, configmap=self._configmap)


def open_backend(
    options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]
) -> OpenedBackend:
    """See `engine.ports.Backend`. The first request reads the kubeconfig."""
    maps, configmap = _maps(options, base_dir, env)
    store = KubernetesStore(maps, configmap)
    return OpenedBackend(store, configmap, {"native": lambda: ObjectLocker(store)}, trusted=True)


def open_provisioner(
    options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]
) -> KubernetesProvisioner:
    """See `engine.ports.Backend`."""
    return KubernetesProvisioner(*_maps(options, base_dir, env))


def _maps(
    options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]
) -> tuple[ConfigMaps, str]:
    try:
        chosen = msgspec.convert(options, KubernetesOptions)
    except msgspec.ValidationError as error:
        raise ConfigError((Problem("", str(error)),)) from error
    if problems := tuple(_problems(chosen)):
        raise ConfigError(problems)

    def find() -> ClusterAccess:
        return find_access(chosen.kubeconfig, chosen.context, chosen.in_cluster, base_dir, env)

    place = f"k8s://{chosen.namespace}/{chosen.configmap}"
    cluster = Cluster(find, place, env, (chosen.timeout, chosen.timeout))
    return ConfigMaps(cluster, chosen.namespace), chosen.configmap


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
