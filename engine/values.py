"""The values that options, attributes and outputs are made of.

JSON, and four kinds of leaves that are not: an `Unknown` (known after apply), a `Secret` (known,
never shown or stored), a `Digest` (a secret as the state remembers it) and a `Deferred` (an
expression that waits for another tool).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NoReturn, TypeAlias, TypeVar, cast

import msgspec

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"
Special: TypeAlias = "Unknown | Secret | Digest | Deferred"
Value: TypeAlias = "None | bool | int | float | str | list[Value] | dict[str, Value] | Special"
Attributes: TypeAlias = Mapping[str, Value]
ValuePath: TypeAlias = tuple[str | int, ...]
"""The way to a part of a value: keys of maps and numbers of list items."""
L = TypeVar("L")

SECRET_KEY: Final = "$secret"
HIDDEN: Final = "(sensitive)"


class UnknownValueError(ValueError):
    """A value that is only known after apply was used before."""


class Unknown:
    """A value known after apply; there is one instance, `UNKNOWN`.

    Any attempt to use it as text, number, path or truth raises UnknownValueError. So a pure
    function of options (an identity, a prediction) that needs it fails where it needs it, and its
    caller takes that for "not known yet".
    """

    __slots__ = ()

    def _use(self, *_: object) -> NoReturn:
        raise UnknownValueError("this value is only known after apply")

    __str__ = __format__ = __bool__ = __iter__ = __len__ = __fspath__ = __int__ = __float__ = _use
    __add__ = __radd__ = __getitem__ = __lt__ = __contains__ = _use

    def __getattr__(self, name: str) -> NoReturn:
        # A field of a nested Struct that is unknown as a whole; Python itself probes for names with
        # an underscore.
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


class Secret(msgspec.Struct, frozen=True, eq=False):
    """A sensitive value in memory.

    `sources` say where it came from (`env GITHUB_TOKEN`, `var token`).
    `parts`: the secrets inside a text around secrets; the rest of such a text is not secret.
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
    """A sensitive value as the state remembers it: a hex HMAC, and where the value came from."""

    digest: str
    sources: tuple[str, ...] = ()

    def __str__(self) -> str:
        return HIDDEN


class Deferred(msgspec.Struct, frozen=True):
    """Base of expressions that wait for other tools (`engine.language.references`)."""


def iter_leaves(value: Value | Attributes) -> Iterator[Value]:
    """Yield every value inside that is neither a list nor a map; a Secret is one leaf."""
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
    """Tell if this is JSON and nothing else; far cheaper than a look at every leaf."""
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
    """List the leaves of some kinds, in order.

    leaves_of({"a": Secret("x"), "b": [1, 2]}, Secret)  # [Secret("x")]
    """
    if is_plain(value):  # most values are, and nothing special is in them
        return []
    return [leaf for leaf in iter_leaves(value) if isinstance(leaf, kinds)]


def collect_sources(secrets: Iterable[Secret | Digest]) -> tuple[str, ...]:
    """List where secrets came from, in order and without repeats."""
    return tuple(dict.fromkeys(source for secret in secrets for source in secret.sources))


_ENCODE: Final = msgspec.json.Encoder().encode


def is_equal(old: Value, new: Value) -> bool:
    """Compare as JSON: 1, 1.0, true and "1" are four values, and a secret is its digest.

    An Unknown equals nothing, not even another one: it may turn out as anything.
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
    """Compare two whole maps by `same`."""
    try:
        # Unequal bytes prove nothing: order of keys and sources of digests do not count.
        if _ENCODE(old) == _ENCODE(new):
            return True  # the usual case, 20 times as fast
    except TypeError:
        pass  # something unknown inside
    return _same_items(old, new)


def _same_items(old: Attributes, new: Attributes) -> bool:
    return len(old) == len(new) and all(
        key in new and is_equal(value, new[key]) for key, value in old.items()
    )


def has_unknown(value: Value | Attributes) -> bool:
    """Tell if any part is only known after apply."""
    return bool(find_leaves(value, Unknown, Deferred))


def map_leaves(value: Value, change: Callable[[Value], Value]) -> Value:
    """Give the same shape with every leaf replaced by `change(leaf)`."""
    if isinstance(value, dict):
        return {key: map_leaves(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [map_leaves(item, change) for item in value]
    return change(value)


def reveal(value: Value) -> Value:
    """Replace every Secret by the value it holds: only for handing to a provider."""
    return map_leaves(value, lambda leaf: leaf.value if isinstance(leaf, Secret) else leaf)
