"""Places in Kubernetes for the contracts: one namespace each, on the fake or the real server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from backends.kubernetes.store import KubernetesStore, open_backend
from backends.lockers.object import ObjectLocker
from dtm.testing.locker import LockerPlace
from dtm.testing.session import Client, Connect
from dtm.testing.store import StorePlace
from tests.contracts.remote import OtherProcess, Remote, RemoteLocker, RemoteStore
from tests.servers.fake_kube import FakeKube
from tests.servers.kube import Kube

ROLE = ["get", "list", "create", "update", "delete"]


def store_in(kubeconfig: str, namespace: str, context: str = "team") -> KubernetesStore:
    """Connect a client that has exactly the role of a team."""
    options = {"kubeconfig": kubeconfig, "namespace": namespace, "context": context}
    store = open_backend(options, Path("/"), os.environ).store
    assert isinstance(store, KubernetesStore)
    return store


class ClosingLocker(ObjectLocker):
    """An ObjectLocker whose connections can be closed."""

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        self._connections = store_in(kubeconfig, namespace)
        super().__init__(self._connections)

    def close(self) -> None:
        self._connections.close()


class Clients:
    """Connects clients to one namespace, the second one in `other` if that is given."""

    def __init__(
        self,
        kube: Kube | FakeKube,
        make: Callable[..., Any],
        remote: type[Remote],
        other: OtherProcess | None = None,
    ) -> None:
        self._make, self._remote, self._other = make, remote, other
        self.namespace = kube.namespace("contract")
        kube.grant(self.namespace, ROLE)
        self._kubeconfig = kube.kubeconfig
        self._clients: list[Any] = []

    def __call__(self) -> Any:
        place = (self._kubeconfig, self.namespace)
        second = self._other if len(self._clients) == 1 else None
        self._clients.append(
            self._remote(second, self._make, *place) if second else self._make(*place)
        )
        return self._clients[-1]

    def close(self) -> None:
        for client in self._clients:
            client.close()


@contextmanager
def store_place(kube: Kube | FakeKube, other: OtherProcess | None = None) -> Iterator[StorePlace]:
    """Yield a place whose `many` is larger than one page of a listing."""
    forbidden = kube.namespace("forbidden")
    with (
        closing(Clients(kube, store_in, RemoteStore, other)) as connect,
        closing(store_in(kube.kubeconfig, forbidden)) as stranger,
    ):
        yield StorePlace(connect, denied=lambda: stranger, many=300)


@contextmanager
def locker_place(
    kube: Kube | FakeKube, other: OtherProcess | None = None, contenders: int = 20
) -> Iterator[LockerPlace]:
    """Yield a place for `contenders` clients with as many attempts each."""
    with closing(Clients(kube, ClosingLocker, RemoteLocker, other)) as connect:

        def corrupt(key: str) -> None:
            with closing(store_in(kube.kubeconfig, connect.namespace)) as store:
                found = store.read(key + ".lock")
                store.write(key + ".lock", b'{"ID": ', expect=found.version if found else None)

        yield LockerPlace(connect, corrupt, clients=contenders, attempts=contenders)


@contextmanager
def session_place(kube: Kube | FakeKube) -> Iterator[Connect]:
    """Yield a function that returns clients, each with its own connections."""
    with closing(Clients(kube, store_in, RemoteStore)) as connect:

        def client() -> Client:
            store = connect()
            return Client(store, ObjectLocker(store))

        yield client
