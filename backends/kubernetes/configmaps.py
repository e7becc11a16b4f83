"""Requests for the ConfigMaps of one namespace: read, create, replace, remove, list."""

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
# Ask for metadata only, since a ConfigMap can have 1 MiB of content. The plain JSON type is for
# servers that cannot leave the content out.
METADATA: Final = f"{JSON};as=PartialObjectMetadata;v=v1;g=meta.k8s.io,{JSON}"
METADATA_LIST: Final = f"{JSON};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,{JSON}"


class Metadata(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The metadata of a ConfigMap that a replacement must keep."""

    name: str
    resource_version: str = ""
    uid: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[Any] = []
    finalizers: list[str] = []


class ConfigMap(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A ConfigMap. One from a listing has only metadata."""

    metadata: Metadata
    data: dict[str, str] = {}
    binary_data: dict[str, bytes] = {}


class _Listing(msgspec.Struct, frozen=True, rename="camel"):
    class Rest(msgspec.Struct, frozen=True, rename={"token": "continue"}):
        token: str = ""

    # Some servers send null for an empty list.
    items: list[ConfigMap] | None
    metadata: Rest = Rest()


class ConfigMaps:
    """The ConfigMaps of `namespace`. Each method raises as `Cluster.call`."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self.namespace = cluster, namespace
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"

    def read(self, name: str, *, content: bool = True) -> ConfigMap | None:
        """Return the ConfigMap, without `content` only its metadata.

        None if the ConfigMap or the namespace does not exist.
        """
        try:
            found = self._cluster.call(
                "GET", f"{self._path}/{name}", accept=JSON if content else METADATA
            )
        except KubernetesNotFoundError:
            return None
        return self._decode(ConfigMap, found)

    def create(self, wanted: ConfigMap) -> ConfigMap:
        """Create a ConfigMap, and the namespace if it is missing.

        Raises KubernetesConflictError if the ConfigMap exists already.
        """
        try:
            return self._decode_written(self._cluster.call("POST", self._path, body=_body(wanted)))
        except KubernetesNotFoundError as error:
            # Create only a missing namespace. Any other 404 means a wrong server or a wrong path.
            if error.kind != "namespaces":
                raise
        self.create_namespace()
        return self._decode_written(self._cluster.call("POST", self._path, body=_body(wanted)))

    def replace(self, wanted: ConfigMap) -> ConfigMap:
        """Replace the version that `wanted.metadata` names.

        Raises KubernetesNotFoundError, KubernetesConflictError.
        """
        path = f"{self._path}/{wanted.metadata.name}"
        return self._decode_written(self._cluster.call("PUT", path, body=_body(wanted)))

    def remove(self, name: str, version: str | None = None) -> bool:
        """Remove a ConfigMap, with `version` only that version.

        Return False if it has another version, True if it was removed or did not exist.
        """
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
            page = self._decode(
                _Listing, self._cluster.call("GET", self._path, query=query, accept=METADATA_LIST)
            )
            yield from (found.metadata for found in page.items or ())
            if not page.metadata.token:
                return
            query["continue"] = page.metadata.token

    def has_namespace(self) -> bool:
        """Return whether the namespace exists."""
        # A dry run of a creation in the namespace. To read the namespace itself would need a role
        # that a user of ConfigMaps usually does not have.
        body = {"metadata": {"name": "dtm-is-the-namespace-there"}}
        try:
            self._cluster.call("POST", self._path, body=body, query={"dryRun": "All"})
        except KubernetesNotFoundError as error:
            return error.kind != "namespaces"
        except OutcomeUnknownError as error:
            # A dry run has no effect.
            raise StoreUnavailableError(error.message) from error
        return True

    def create_namespace(self) -> bool:
        """Create the namespace; return False if it exists already.

        Raises StoreAccessError with the command for an administrator if that is denied.
        """
        try:
            body = {"metadata": {"name": self.namespace}}
            self._cluster.call("POST", "/api/v1/namespaces", body=body)
        except KubernetesConflictError:
            return False
        except StoreAccessError as error:
            raise StoreAccessError(
                f"namespace {self.namespace} does not exist and cannot be created: {error.message}",
                hint="ask an administrator of the cluster to run "
                f"kubectl create namespace {self.namespace}",
            ) from error
        except OutcomeUnknownError as error:
            # No ConfigMap was written yet, and creating the namespace twice is harmless.
            raise StoreUnavailableError(error.message) from error
        return True

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        self._cluster.close()

    def _decode_written(self, found: Object) -> ConfigMap:
        try:
            return self._decode(ConfigMap, found)
        except StoreError as error:
            # The response to a write was not understood, so the write may have had its effect.
            raise OutcomeUnknownError(error.message) from error

    def _decode(self, kind: type[T], found: Object) -> T:
        try:
            return msgspec.convert(found, kind)
        except msgspec.ValidationError as error:
            raise StoreError(
                f"namespace {self.namespace}: the server's answer is not a ConfigMap: {error}"
            ) from error


def _body(wanted: ConfigMap) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", **msgspec.to_builtins(wanted)}
