"""State in ConfigMaps of one namespace, one per key, with conditional writes by resourceVersion.

A value is stored as gzip in `binaryData`. A value that is too large for one ConfigMap is split into
parts. Each part is created once and never changed. The index, which names the parts, is replaced
last, so that readers see either the whole old value or the whole new one.
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
    DEFAULT_TIMEOUT,
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
from engine.ports import OpenedBackend, StoredObject, Version
from engine.schema import Field, Options
from engine.values import Value

PART_SIZE: Final = 900 * 1024
"""Compressed bytes in one ConfigMap. Kubernetes accepts 1 MiB including the metadata."""
ATTEMPTS: Final = 20
"""Attempts of a read or delete while another client keeps replacing the value."""
VALUE, DEVSTREAM = "value.gz", "state"
KEY_ANNOTATION, PARTS_ANNOTATION = "dtm/key", "dtm/parts"
"""Annotations: the key, and `GENERATION/COUNT` of the parts of its value."""
KIND_LABEL, PART_OF_LABEL = "app.kubernetes.io/component", "dtm/part-of"
NAME_PATTERN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_PATTERN: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
MAX_NAME_LENGTH = 220
"""Characters of the name of an index. Kubernetes accepts 253, and part names are longer."""


class KubernetesOptions(Options, frozen=True, kw_only=True):
    """Options of `backend: kubernetes`."""

    namespace: Annotated[
        str, Field("namespace of the ConfigMaps; created if missing", example="devstream")
    ] = "devstream"
    configmap: Annotated[
        str, Field("ConfigMap of the state; the names of all others begin with it", example="state")
    ] = "state"
    context: Annotated[
        str, Field("context of the kubeconfig; default: the current one", example="production")
    ] = ""
    kubeconfig: Annotated[
        str,
        Field(
            "path of the kubeconfig; default: KUBECONFIG, ~/.kube/config, or the pod's account",
            example="kubeconfig",
        ),
    ] = ""
    in_cluster: Annotated[
        bool | None, Field("use the account of the pod that dtm runs in", example=True)
    ] = None
    timeout: Annotated[
        float, Field("seconds to wait for a connection, and for each response", gt=0)
    ] = DEFAULT_TIMEOUT


OPTIONS = KubernetesOptions


def configmap_name(key: str) -> str:
    """Return the name of the ConfigMap of a key.

    The keys of a state give readable names: `a.log` stays `a.log`, `a.log.d/x` becomes
    `a.log.x`, and `a.history/x` becomes `a.history.x`. A key that would give an illegal or too long
    name gets a legal beginning and a digest.
    """
    name = key.replace(".d/", ".").replace("/", ".")
    if NAME_PATTERN.fullmatch(name) and len(name) <= MAX_NAME_LENGTH:
        return name
    start = re.sub("[^a-z0-9]+", "-", key.lower())[:100].strip("-")
    return f"{start or 'key'}-{_digest(key)}"


class KubernetesStore:
    """`engine.ports.Store` on the ConfigMaps of `maps` that have the label of `state`.

    To write the current bytes again keeps their version, since Kubernetes does not change an object
    then. The store remembers the metadata of each ConfigMap that it has seen, so that a write or a
    delete of that version takes one request.
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

    def read(self, key: str) -> StoredObject | None:
        """See `engine.ports.Store.read`. A missing namespace has no keys."""
        version = None
        for _ in range(ATTEMPTS):
            found = self._maps.read(configmap_name(key))
            if found is None:
                return None
            self._seen[key] = found.metadata
            data = self._decode_value(key, found)
            if data is not None:
                return StoredObject(data, found.metadata.resource_version)
            # A part is missing. If the index changes until the next attempt, another client is
            # replacing the value. If it does not, the part is really gone.
            if found.metadata.resource_version == version:
                raise StoreError(f"{self._where(key)} is damaged: a part of its value is missing")
            version = found.metadata.resource_version
        raise self._overtaken_error(key)

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """See `engine.ports.Store.write`. The namespace is created if it does not exist."""
        # mtime=0: equal data must give equal bytes, so that the version stays the same.
        packed = gzip.compress(data, 6, mtime=0)
        # Kubernetes would refuse a larger ConfigMap, since etcd limits the size of an object.
        if len(packed) > PART_SIZE:
            return self._write_parts(key, packed, expect)
        return self._replace_value(key, {VALUE: packed}, expect)

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        """See `engine.ports.Store.delete`."""
        for _ in range(ATTEMPTS):
            seen = self._metadata_of(key, expect)
            # A missing key is what the caller wants, whatever version it expects.
            if seen is None:
                return
            if expect not in (None, seen.resource_version):
                raise ConflictError(key, expect, seen.resource_version)
            self._seen.pop(key, None)
            if self._maps.remove(seen.name, seen.resource_version):
                # Only after the index: a reader must not find an index whose parts are missing.
                self._remove_parts(_parts_of(seen))
                return
        raise self._overtaken_error(key)

    def list(self, prefix: str) -> Iterator[str]:
        """See `engine.ports.Store.list`. ConfigMaps that dtm has not written are left out."""
        keys: list[str] = []
        for found in self._maps.list(self._labels | {KIND_LABEL: "value"}):
            key = found.annotations.get(KEY_ANNOTATION, "")
            # Ignore copies of a ConfigMap under another name: their annotation is copied too.
            if key.startswith(prefix) and configmap_name(key) == found.name:
                keys.append(key)
                self._seen[key] = found
        return iter(sorted(keys))

    def close(self) -> None:
        """Close the connections; the store stays usable."""
        self._maps.close()

    def _where(self, key: str) -> str:
        return f"ConfigMap {configmap_name(key)} in namespace {self._maps.namespace}"

    def _overtaken_error(self, key: str) -> StoreUnavailableError:
        return StoreUnavailableError(f"{self._where(key)}: other clients keep replacing it")

    def _metadata_of(self, key: str, version: Version | None) -> Metadata | None:
        """Return the last seen metadata if it has `version` (None: any version), else read it."""
        seen = self._seen.get(key)
        if seen is not None and version in (None, seen.resource_version):
            return seen
        found = self._maps.read(configmap_name(key), content=False)
        if found is None:
            self._seen.pop(key, None)
            return None
        self._seen[key] = found.metadata
        return found.metadata

    def _decode_value(self, key: str, found: ConfigMap) -> bytes | None:
        """Return the bytes of a key, None if one of the parts is missing.

        Bytes that are not gzip were edited by hand, and are returned unchanged.
        """
        names = _parts_of(found.metadata)
        if others := {*found.data, *found.binary_data} - (
            {VALUE} if found.binary_data or names else {DEVSTREAM}
        ):
            raise StoreError(
                f"{self._where(key)} contains keys of another program: {', '.join(sorted(others))}",
                hint="name another ConfigMap with option configmap",
            )
        # DevStream stores its state as text under the key `state`.
        if found.data:
            return found.data[DEVSTREAM].encode()
        if not names:
            return _decompress(found.binary_data.get(VALUE, b""))
        parts = [part for name in names if (part := self._maps.read(name))]
        return (
            _decompress(b"".join(part.binary_data.get(VALUE, b"") for part in parts))
            if len(parts) == len(names)
            else None
        )

    def _replace_value(
        self,
        key: str,
        content: dict[str, bytes],
        expect: Version | None,
        parts: str = "",
        unused: Iterable[str] = (),
    ) -> Version:
        """Replace the ConfigMap of the key, then remove `unused` and the parts of the old value."""
        old = None if expect is None else self._metadata_of(key, expect)
        if expect is not None and (old is None or old.resource_version != expect):
            raise ConflictError(key, expect, old.resource_version if old else None)
        wanted = ConfigMap(
            self._merge_metadata(key, parts, old or Metadata(configmap_name(key))),
            binary_data=content,
        )
        try:
            # The metadata names the version, so the server refuses to replace any other version.
            made = self._maps.replace(wanted) if old else self._maps.create(wanted)
        except (KubernetesNotFoundError, KubernetesConflictError) as error:
            raise self._conflict(key, expect) from error
        self._seen[key] = made.metadata
        self._remove_parts({*unused, *(_parts_of(old) if old else ())})
        return made.metadata.resource_version

    def _merge_metadata(self, key: str, parts: str, old: Metadata) -> Metadata:
        """Add dtm's labels and annotations to those of other tools, which are kept."""
        others = {
            name: value for name, value in old.annotations.items() if name != PARTS_ANNOTATION
        }
        labels = {**old.labels, **self._labels, KIND_LABEL: "value"}
        return replace(
            old,
            labels=labels,
            annotations={
                **others,
                KEY_ANNOTATION: key,
                **({PARTS_ANNOTATION: parts} if parts else {}),
            },
        )

    def _conflict(self, key: str, expect: Version | None) -> ConflictError:
        """Return a conflict with the current version, if that can be read."""
        self._seen.pop(key, None)
        # A failed read must not hide that there was a conflict.
        with suppress(StoreError):
            self._metadata_of(key, None)
        found = self._seen.get(key)
        return ConflictError(key, expect, found.resource_version if found else None)

    def _write_parts(self, key: str, packed: bytes, expect: Version | None) -> Version:
        """Create the parts, replace the index, then remove the parts that no index names."""
        pieces = [packed[start : start + PART_SIZE] for start in range(0, len(packed), PART_SIZE)]
        # A new generation for each write, so that the parts of two writers never mix.
        parts = f"{token_hex(4)}/{len(pieces)}"
        names, labels = (
            _part_names(configmap_name(key), parts),
            {**self._labels, PART_OF_LABEL: _digest(key)},
        )
        # List the parts before the new ones are created, so that the new ones are not removed. Once
        # the index is replaced, all listed parts are unused: they belong to the old value, to
        # writers that died, or to writers that expect an older version and will be refused.
        unused = [found.name for found in self._maps.list(labels)]
        made = [
            ConfigMap(
                Metadata(name, labels={**labels, KIND_LABEL: "part"}), binary_data={VALUE: piece}
            )
            for name, piece in zip(names, pieces, strict=True)
        ]
        try:
            self._create_parts(made)
            return self._replace_value(key, {}, expect, parts, unused)
        except StoreError:
            # The index was certainly not replaced. An unknown outcome is not handled here: the new
            # index may then exist and need its parts.
            self._remove_parts(names)
            raise

    def _create_parts(self, parts: Iterable[ConfigMap]) -> None:
        """Create the parts of a value.

        Raises StoreUnavailableError even for an unknown outcome: the key itself is unchanged.
        """
        try:
            for part in parts:
                self._maps.create(part)
        except OutcomeUnknownError as error:
            raise StoreUnavailableError(error.message) from error

    def _remove_parts(self, names: Iterable[str]) -> None:
        """Remove parts."""
        # A part that cannot be removed does no harm: the next write in parts removes it.
        for name in names:
            with suppress(DtmError):
                self._maps.remove(name)


def _part_names(name: str, parts: str) -> tuple[str, ...]:
    """Return the names of the part ConfigMaps of `name`; `parts` is its annotation."""
    generation, _, count = parts.partition("/")
    return tuple(f"{name}.part.{generation}-{number}" for number in range(int(count or 0)))


def _parts_of(seen: Metadata) -> tuple[str, ...]:
    return _part_names(seen.name, seen.annotations.get(PARTS_ANNOTATION, ""))


def _decompress(packed: bytes) -> bytes:
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError, zlib.error):
        return packed


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _label(state: str) -> str:
    """Return the value of the state's label: the name of the state, or a digest if too long."""
    return state if LABEL_PATTERN.fullmatch(state) else _digest(state)


POLICY_TEMPLATE = """\
# What dtm needs for the state in k8s://{namespace}/{configmap}, for kubectl apply -f -
# A user who only plans needs just get and list.
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
subjects:  # replace these by your users and jobs
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
        made = not self._maps.has_namespace() and self._maps.create_namespace()
        return [f"namespace {self._maps.namespace}"] if made else []

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        self._maps.close()

    def policy(self) -> str:
        """See `engine.ports.Provisioner.policy`. Return a Role and its RoleBinding."""
        return POLICY_TEMPLATE.format(namespace=self._maps.namespace, configmap=self._configmap)


def open_backend(
    options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]
) -> OpenedBackend:
    """See `engine.ports.Backend`. The kubeconfig is not read before the first request."""
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
    if not LABEL_PATTERN.fullmatch(options.namespace):
        yield Problem(
            "namespace",
            f'"{options.namespace}" is not a valid namespace name',
            "use lower-case letters, digits and -, at most 63 characters",
        )
    if not NAME_PATTERN.fullmatch(options.configmap) or len(options.configmap) > 180:
        yield Problem(
            "configmap",
            f'"{options.configmap}" is not a valid ConfigMap name',
            "use lower-case letters, digits, - and ., at most 180 characters",
        )
    for name in ("kubeconfig", "context"):
        if options.in_cluster and getattr(options, name):
            yield Problem(name, f"{name} has no effect with inCluster: true", f"remove {name}")
