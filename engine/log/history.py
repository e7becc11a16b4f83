"""Earlier snapshots of a state: listed, loaded, and dropped when there are too many."""

from __future__ import annotations

import re
from functools import partial

import msgspec

from engine.errors import StateError
from engine.log.view import where
from engine.ports import Store
from engine.runtime.environment import Environment
from engine.state import State
from engine.stored.document import decode

NAME = re.compile(r"(\d+)-([0-9a-zA-Z]{1,8})")


class Past(msgspec.Struct, frozen=True, order=True):
    """One earlier snapshot: its serial, the first characters of its id, and the key it is stored under."""

    serial: int
    document: str
    key: str


def history(store: Store, key: str, environment: Environment | None = None) -> tuple[Past, ...]:
    """Earlier snapshots, by serial. Raises as `Store.list`."""
    prefix = f"{key}.history/"
    names = (environment or Environment()).retry(
        lambda: [name.removeprefix(prefix) for name in store.list(prefix)]
    )
    matches = [found for name in names if (found := NAME.fullmatch(name))]
    return tuple(sorted(Past(int(found[1]), found[2], prefix + found[0]) for found in matches))


def load(store: Store, past: Past, environment: Environment | None = None) -> State:
    """The state of an earlier snapshot; DevStream's have serial 0. Raises StateError if it is gone or damaged."""
    found = (environment or Environment()).retry(lambda: store.read(past.key))
    if found is None:
        raise StateError(f"{where(store, past.key)} is not in the history any more")
    return decode(found.data, where(store, past.key))


def prune(
    store: Store, key: str, keep: int, serial: int, environment: Environment | None = None
) -> None:
    """Drop the oldest beyond `keep`; `serial` is the current snapshot's.

    Serials tell the age, except after a forced push of a lower one: then the documents themselves are asked.
    """
    found = list(history(store, key, environment))
    if len(found) <= keep:
        return
    if found[-1].serial >= serial:
        found.sort(key=lambda past: _written(store, past, environment))
    for past in found[: len(found) - keep]:
        (environment or Environment()).retry(partial(store.delete, past.key))


def _written(store: Store, past: Past, environment: Environment | None) -> str:
    """When a snapshot was written; one that cannot be read counts as the oldest."""
    try:
        return load(store, past, environment).written.at
    except StateError:
        return ""
