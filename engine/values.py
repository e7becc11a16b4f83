"""The values of options, attributes and outputs.

A value is JSON with four more kinds of leaves:

    Unknown   a value that is known only after an apply
    Secret    a sensitive value in memory; never shown, never stored
    Digest    a sensitive value in the state: it can be compared, but not read
    Deferred  a value that is decided later, such as a reference to an output of another tool

    find_leaves({"token": Secret("x"), "port": 80}, Secret)  # [Secret("x")]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NoReturn, TypeAlias, TypeVar, cast

import msgspec

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"
Special: TypeAlias = "Unknown | Secret | Digest | Deferred"
Value: TypeAlias = "None | bool | int | float | str | list[Value] | dict[str, Value] | Special"
"""A value as in JSON, or a special object of `engine.values`, such as `UNKNOWN` or a secret."""
Attributes: TypeAlias = Mapping[str, Value]
"""Named values: the options of a tool, or the attributes or outputs of a resource."""
ValuePath: TypeAlias = tuple[str | int, ...]
"""The path to a part of a value: keys of maps and indexes of lists."""
L = TypeVar("L")

SECRET_KEY: Final = "$secret"
"""Key of the map that represents a Digest in the state file."""

HIDDEN: Final = "(sensitive)"
"""Text that is shown in place of a sensitive value."""


class UnknownValueError(ValueError):
    """Code used a value that is known only after an apply."""


class Unknown:
    """A value that is known only after an apply. Its only instance is `UNKNOWN`.

    Using it as text, number, path or truth value raises UnknownValueError. A pure function of
    options, such as an identity or a prediction, therefore fails exactly if it needs the value. Its
    caller then treats the result as not known yet.
    """

    __slots__ = ()

    def _use(self, *_: object) -> NoReturn:
        raise UnknownValueError("this value is only known after apply")

    __str__ = __format__ = __bool__ = __iter__ = __len__ = __fspath__ = __int__ = __float__ = _use
    __add__ = __radd__ = __getitem__ = __lt__ = __contains__ = _use

    def __getattr__(self, name: str) -> NoReturn:
        # `options.repo.name` must fail like any other use if all of `repo` is unknown. Names with
        # an underscore are different: Python itself looks for them, in `copy` for example.
        if name.startswith("_"):
            raise AttributeError(name)
        self._use()

    def __repr__(self) -> str:
        return "(known after apply)"

    def __deepcopy__(self, _memo: object) -> Unknown:
        return self

    def __reduce__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()
"""The value of an option or output that is known only after an apply."""


class Secret(msgspec.Struct, frozen=True, eq=False):
    """A sensitive value in memory.

    `sources` name its origins: `env GITHUB_TOKEN`, `var token`.
    `parts` are the secrets inside a text such as `https://TOKEN@host`; the rest of it is public.
    """

    value: Value
    sources: tuple[str, ...] = ()
    parts: tuple[Secret, ...] = ()

    def __str__(self) -> str:
        return HIDDEN

    __repr__ = __str__

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("value", HIDDEN)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self.value, self.sources) == (
            other.value,
            other.sources,
        )

    def __hash__(self) -> int:
        return hash((self.value, self.sources))


class Digest(msgspec.Struct, frozen=True):
    """A sensitive value in the state: its HMAC in hex, and the sources of the value."""

    digest: str
    sources: tuple[str, ...] = ()

    def __str__(self) -> str:
        return HIDDEN


class Deferred(msgspec.Struct, frozen=True):
    """Base of the leaves that `engine.language` defines: references, text templates, literals.

    The options of a loaded Config contain only those that wait for outputs of other tools.
    """


def iter_leaves(value: Value | Attributes) -> Iterator[Value]:
    """Yield every inner value that is neither a list nor a map. A Secret is one leaf."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from iter_leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from iter_leaves(item)
    else:
        yield value


_ATOMS: Final = frozenset({str, int, float, bool, type(None)})


def is_plain(value: Value | Attributes) -> bool:
    """Return whether a value is plain JSON; much faster than `iter_leaves`."""
    kind = type(value)
    if kind is dict:
        items: Iterable[Value] = cast("dict[str, Value]", value).values()
    elif kind is list:
        items = cast("list[Value]", value)
    else:
        return kind in _ATOMS
    for item in items:  # noqa: SIM110 - all() takes twice as long
        if type(item) not in _ATOMS and not is_plain(item):
            return False
    return True


def find_leaves(value: Value | Attributes, *kinds: type[L]) -> list[L]:
    """Return the leaves of the given kinds, in order.

    An example:

        find_leaves({"a": Secret("x"), "b": [1, 2]}, Secret)  # [Secret("x")]
    """
    if is_plain(value):  # the usual case: without special leaves
        return []
    return [leaf for leaf in iter_leaves(value) if isinstance(leaf, kinds)]


def collect_sources(secrets: Iterable[Secret | Digest]) -> tuple[str, ...]:
    """Return the sources of secrets, in order and without repeats."""
    return tuple(dict.fromkeys(source for secret in secrets for source in secret.sources))


_ENCODE: Final = msgspec.json.Encoder().encode


def is_equal(old: Value, new: Value) -> bool:
    """Return whether two values are equal as JSON: 1, 1.0, true and "1" all differ.

    Digests are compared without their sources. An Unknown equals nothing, not even another Unknown,
    since the two may turn out to be different.
    """
    kind = type(old)
    if kind is not type(new):
        return False
    if kind is dict:
        return _same_items(cast("dict[str, Value]", old), cast("dict[str, Value]", new))
    if kind is list:
        left, right = cast("list[Value]", old), cast("list[Value]", new)
        return len(left) == len(right) and all(map(is_equal, left, right))
    if isinstance(old, Digest):
        return old.digest == cast("Digest", new).digest
    return not isinstance(old, Unknown) and old == new


def is_equal_map(old: Attributes, new: Attributes) -> bool:
    """Return whether two maps are equal, as `is_equal` compares values."""
    try:
        # Equal bytes prove equality, 20 times as fast. Unequal bytes prove nothing, since the
        # order of keys and the sources of digests do not count.
        if _ENCODE(old) == _ENCODE(new):
            return True
    except TypeError:
        pass  # an Unknown cannot be encoded
    return _same_items(old, new)


def _same_items(old: Attributes, new: Attributes) -> bool:
    return len(old) == len(new) and all(
        key in new and is_equal(value, new[key]) for key, value in old.items()
    )


def has_unknown(value: Value | Attributes) -> bool:
    """Return whether any part is known only after an apply."""
    return bool(find_leaves(value, Unknown, Deferred))


def map_leaves(value: Value, change: Callable[[Value], Value]) -> Value:
    """Return the same shape with every leaf replaced by `change(leaf)`."""
    if isinstance(value, dict):
        return {key: map_leaves(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [map_leaves(item, change) for item in value]
    return change(value)


def reveal(value: Value) -> Value:
    """Replace every Secret by its value. Never show or store the result."""
    return map_leaves(value, lambda leaf: leaf.value if isinstance(leaf, Secret) else leaf)
