"""The ConfigMaps of one namespace: create, replace, remove, list, one request each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from backends.kubernetes.api import (
    JSON,
    Cluster,
    KubernetesConflictError,
    KubernetesNotFoundError,
    Object,
)
from engine.errors import OutcomeUnknownError, StoreAccessError, StoreError, StoreUnavailableError

T = TypeVar("T", bound=msgspec.Struct)

PAGE: Final = 250
# A value may be 1 MiB. The second type is for a server that cannot leave the content out.
METADATA: Final = f"{JSON};as=PartialObjectMetadata;v=v1;g=meta.k8s.io,{JSON}"
METADATA_LIST: Final = f"{JSON};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,{JSON}"


class Metadata(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The metadata of a ConfigMap, as far as a replacement must keep it."""

    name: str
    resource_version: str = ""
    uid: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[Any] = []
    finalizers: list[str] = []


class ConfigMap(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A ConfigMap; a listed one has no content."""

    metadata: Metadata
    data: dict[str, str] = {}
    binary_data: dict[str, bytes] = {}


class _Listing(msgspec.Struct, frozen=True, rename="camel"):
    class Rest(msgspec.Struct, frozen=True, rename={"token": "continue"}):
        token: str = ""

    items: list[ConfigMap] | None  # null where there is none
    metadata: Rest = Rest()


class ConfigMaps:
    """The requests for the ConfigMaps of `namespace`. They raise as `Cluster.call`."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self.namespace = cluster, namespace
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"

    def read(self, name: str, *, content: bool = True) -> ConfigMap | None:
        """Return the ConfigMap, or only its metadata; None if there is none, or no namespace."""
        try:
            found = self._cluster.call(
                "GET", f"{self._path}/{name}", accept=JSON if content else METADATA
            )
        except KubernetesNotFoundError:
            return None
        return self._as(ConfigMap, found)

    def create(self, wanted: ConfigMap) -> ConfigMap:
        """Create it, and the namespace if the server says that there is none. Raises Clash."""
        try:
            return self._made(self._cluster.call("POST", self._path, body=_body(wanted)))
        except KubernetesNotFoundError as error:
            # Only a missing namespace is made; any other 404 means another server or path.
            if error.kind != "namespaces":
                raise
        self.make_namespace()
        return self._made(self._cluster.call("POST", self._path, body=_body(wanted)))

    def replace(self, wanted: ConfigMap) -> ConfigMap:
        """Replace the version that it names. Raises Absent, Clash."""
        path = f"{self._path}/{wanted.metadata.name}"
        return self._made(self._cluster.call("PUT", path, body=_body(wanted)))

    def remove(self, name: str, version: str | None = None) -> bool:
        """Remove it; return False if another version is there."""
        conditions = {"preconditions": {"resourceVersion": version}} if version else {}
        try:
            body = {"kind": "DeleteOptions", "apiVersion": "v1", **conditions}
            self._cluster.call("DELETE", f"{self._path}/{name}", body=body)
        except KubernetesNotFoundError:
            return True
        except KubernetesConflictError:
            return False
        return True

    def list(self, labels: Mapping[str, str]) -> Iterator[Metadata]:
        """Yield the metadata of all ConfigMaps with these labels, page by page."""
        query = {
            "labelSelector": ",".join(f"{name}={value}" for name, value in labels.items()),
            "limit": str(PAGE),
        }
        while True:
            page = self._as(
                _Listing, self._cluster.call("GET", self._path, query=query, accept=METADATA_LIST)
            )
            yield from (found.metadata for found in page.items or ())
            if not page.metadata.token:
                return
            query["continue"] = page.metadata.token

    def has_namespace(self) -> bool:
        """Return whether the namespace exists.

        It is asked by a dry-run creation, since reading a namespace needs another role.
        """
        body = {"metadata": {"name": "dtm-is-the-namespace-there"}}
        try:
            self._cluster.call("POST", self._path, body=body, query={"dryRun": "All"})
        except KubernetesNotFoundError as error:
            return error.kind != "namespaces"
        except OutcomeUnknownError as error:  # nothing can have happened
            raise StoreUnavailableError(error.message) from error
        return True

    def make_namespace(self) -> bool:
        """Create the namespace; return False if it exists already.

        Raises StoreAccessError with the command for a user who may create it.
        """
        try:
            body = {"metadata": {"name": self.namespace}}
            self._cluster.call("POST", "/api/v1/namespaces", body=body)
        except KubernetesConflictError:
            return False
        except StoreAccessError as error:
            raise StoreAccessError(
                f"there is no namespace {self.namespace}, and it cannot be made: {error.message}",
                hint=f"somebody who may: kubectl create namespace {self.namespace}",
            ) from error
        except OutcomeUnknownError as error:  # no ConfigMap was written yet
            raise StoreUnavailableError(error.message) from error
        return True

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        self._cluster.close()

    def _made(self, found: Object) -> ConfigMap:
        try:
            return self._as(ConfigMap, found)
        except StoreError as error:  # something was written, or nothing
            raise OutcomeUnknownError(error.message) from error

    def _as(self, kind: type[T], found: Object) -> T:
        try:
            return msgspec.convert(found, kind)
        except msgspec.ValidationError as error:
            raise StoreError(
                f"namespace {self.namespace}: the server's answer is no Kubernetes object: {error}"
            ) from error


def _body(wanted: ConfigMap) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", **msgspec.to_builtins(wanted)}
