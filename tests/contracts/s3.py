"""Places on S3 and DynamoDB for the contracts: a new bucket and a new table each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

from backends.aws import s3
from backends.aws.options import read_settings
from backends.aws.session import AwsAccount, AwsCredentials
from backends.lockers.pair import BothLockers
from dtm.testing.locker import LockerPlace
from dtm.testing.session import Client, Connect
from dtm.testing.store import StorePlace
from engine.ports import Locker, OpenedBackend, Store
from engine.values import Value
from tests.contracts.remote import OtherProcess, Remote, RemoteLocker, RemoteStore
from tests.servers.aws import Cloud

Options = Mapping[str, Value]
CLIENTS = 3
"""Clients per place. Later callers share them, since creating a client takes time."""


@cache
def account(access: AwsCredentials) -> AwsAccount:
    """Return the same account each time: its first client takes longer than most cases."""
    return AwsAccount(access)


def opened(options: Options) -> OpenedBackend:
    settings = read_settings(options, Path("/"), {})
    return s3.opened(account(settings.access), settings)


def store_in(options: Options) -> Store:
    return opened(options).store


def locker_in(options: Options, kind: str) -> Locker:
    """Return a locker; `both` acquires the locks in the same order as dtm."""
    lockers = opened(options).lockers
    return (
        BothLockers(lockers["dynamodb"](), lockers["native"]())
        if kind == "both"
        else lockers[kind]()
    )


class Served:
    """A client in the other process that has nothing to close."""

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        self._made = make(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)

    def close(self) -> None:
        pass


class Clients:
    """Connects clients to one place, the second one in `other` if that is given."""

    def __init__(
        self,
        make: Callable[..., Any],
        *arguments: Any,
        remote: type[Remote],
        other: OtherProcess | None,
    ) -> None:
        self._make, self._arguments, self._remote, self._other = make, arguments, remote, other
        self._made: list[Any] = []
        self._numbers = count()
        self._mutex = Lock()

    def __call__(self) -> Any:
        with self._mutex:
            number = next(self._numbers)
            if number >= CLIENTS:
                return self._made[number % CLIENTS]
            elsewhere = number == 1 and self._other is not None
            self._made.append(
                # mypy does not see that `_other` is given here
                self._remote(self._other, Served, self._make, *self._arguments)  # type: ignore[arg-type]
                if elsewhere
                else self._make(*self._arguments)
            )
            return self._made[-1]

    def close(self) -> None:
        for client in self._made:
            if isinstance(client, Remote):
                client.close()


@contextmanager
def store_place(
    cloud: Cloud, other: OtherProcess | None = None, many: int = 1100
) -> Iterator[StorePlace]:
    """Yield a place whose `many` exceeds a page; `denied` is a missing bucket."""
    options = cloud.fresh()
    missing = store_in(cloud.options("no-such-bucket-here"))
    with closing(Clients(store_in, options, remote=RemoteStore, other=other)) as connect:
        yield StorePlace(connect, denied=lambda: missing, many=many)


@contextmanager
def locker_place(
    cloud: Cloud, kind: str, other: OtherProcess | None = None, contenders: int = 20
) -> Iterator[LockerPlace]:
    """Yield a place for `contenders` clients; `kind` is native, dynamodb or both."""
    options = cloud.fresh()
    with closing(Clients(locker_in, options, kind, remote=RemoteLocker, other=other)) as connect:
        yield LockerPlace(
            connect, lambda key: spoil(options, kind, key), clients=contenders, attempts=contenders
        )


def spoil(options: Options, kind: str, key: str) -> None:
    """Make the records of a lock unreadable, as an edit by hand would."""
    bad = '{"ID": '
    if kind in ("native", "both"):
        store = store_in(options)
        found = store.read(f"{key}.tflock")
        store.write(f"{key}.tflock", bad.encode(), expect=found.version if found else None)
    if kind in ("dynamodb", "both"):
        locker: Any = opened(options).lockers["dynamodb"]()
        table, row = (
            str(options["dynamodbTable"]),
            {"LockID": {"S": f"{options['bucket']}/{key}"}, "Info": {"S": bad}},
        )
        locker._client().put_item(TableName=table, Item=row)


@contextmanager
def session_place(cloud: Cloud, kind: str) -> Iterator[Connect]:
    """Yield a function that returns one of two clients in turn."""
    options = cloud.fresh()
    places = [opened(options), opened(options)]
    numbers = count()

    def client() -> Client:
        place = places[next(numbers) % 2]
        return Client(place.store, place.lockers[kind]())

    yield client
