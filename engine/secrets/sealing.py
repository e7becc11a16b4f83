"""Secrets never reach state, log or screen: they are remembered as digests and blotted out of texts."""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Iterator
from functools import cache
from hashlib import scrypt, sha256
from threading import Lock
from urllib.parse import quote

import msgspec

from engine.address import Address
from engine.errors import StateError
from engine.state import Resource
from engine.stored.forms import plain
from engine.values import HIDDEN, Attributes, Digest, Secret, Value, is_plain, leaves, reveal

SHORTEST = 6
"""Shorter secrets are not blotted out: that would riddle innocent texts and so tell what they are."""


OUTPUTS = Address("", "outputs")
"""The place of root outputs in digests."""


@cache
def _keys_of(_salt: bytes) -> dict[bytes, bytes]:
    """Stretched secrets by content: planner, executor and session seal with one salt, and scrypt is to be paid once."""
    return {}


class Sealer:
    """Turns secrets into digests: HMAC(scrypt(value, salt), address + path).

    Equal values at different places have different digests, and a digest can only be tried out at scrypt's price
    (n=2^14, r=8, p=1: about 50 ms), paid once per distinct value. Safe to use from several threads.
    """

    def __init__(self, salt: str) -> None:
        self._salt = bytes.fromhex(salt)
        self._keys = _keys_of(self._salt)
        self._lock = Lock()

    def seal(self, value: Value, address: Address, path: tuple[str | int, ...] = ()) -> Value:
        """The same value, copied, with every Secret as its Digest; `path` is where it stands below the address."""
        match value:
            case dict():
                return {key: self.seal(item, address, (*path, key)) for key, item in value.items()}
            case list():
                return [
                    self.seal(item, address, (*path, index)) for index, item in enumerate(value)
                ]
            case Secret():
                return self._digest(value, address, path)
            case _:
                return value

    def seal_map(
        self, values: Attributes, address: Address, path: tuple[str | int, ...] = ()
    ) -> dict[str, Value]:
        """`seal` of a whole map of options, attributes or outputs; one without anything special in it is not copied deeply."""
        if is_plain(values):
            return dict(values)
        return {key: self.seal(item, address, (*path, key)) for key, item in values.items()}

    def seal_resource(self, resource: Resource, address: Address) -> Resource:
        """A resource with its attributes and outputs sealed."""
        attributes = self.seal_map(resource.attributes, address, ("resource",))
        return Resource(
            resource.id, attributes, self.seal_map(resource.outputs, address, ("outputs",))
        )

    def _digest(self, secret: Secret, address: Address, path: tuple[str | int, ...]) -> Digest:
        place = json.dumps([address.key, *path]).encode()
        return Digest(hmac.new(self._key(secret), place, sha256).hexdigest(), secret.sources)

    def _key(self, secret: Secret) -> bytes:
        text = msgspec.json.encode(plain(reveal(secret.value)), order="sorted")
        with self._lock:
            if text not in self._keys:
                if not self._salt:
                    raise StateError("a secret cannot be sealed before the state has a salt")
                self._keys[text] = scrypt(text, salt=self._salt, n=2**14, r=8, p=1, dklen=32)
            return self._keys[text]


class Redactor:
    """Blots known secrets out of texts, whoever produced them. Safe to use from several threads."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, ...]] = {}
        self._pattern: re.Pattern[str] | None = None
        self._lock = Lock()

    def add(self, value: Value) -> None:
        """Know every text of six characters or more inside this value: as it is, and as JSON, URLs and base64 spell it.

        Of a text around secrets these are known alone, unless one is too short for that.
        """
        found = {form: sources for text, sources in _texts(value, ()) for form in _forms(text)}
        with self._lock:
            if found.keys() <= self._known.keys():
                return
            self._known = found | self._known
            longest_first = sorted(self._known, key=lambda text: (-len(text), text))
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def clean(self, text: str) -> str:
        """The text with every known secret replaced by `(sensitive)`."""
        pattern = self._pattern
        return pattern.sub(HIDDEN, text) if pattern else text

    def conceal(self, value: Value) -> Value:
        """The value with every text and number that holds a known secret as a Secret; a key that does is cleaned."""
        if self._pattern is None:
            return value
        if isinstance(value, dict):
            return {self.clean(key): self.conceal(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.conceal(item) for item in value]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return value
        held = dict.fromkeys(self._pattern.findall(str(value)))
        if not held or not (isinstance(value, str) or str(value) in held):
            return value
        return Secret(
            value, tuple(dict.fromkeys(source for text in held for source in self._known[text]))
        )

    def conceal_map(self, values: Attributes) -> Attributes:
        """`conceal` of a whole map of attributes or outputs."""
        if self._pattern is None:
            return values
        return {self.clean(key): self.conceal(value) for key, value in values.items()}

    def conceal_resource(self, resource: Resource) -> Resource:
        """A resource with its attributes and outputs concealed."""
        if self._pattern is None:
            return resource
        return Resource(
            resource.id, self.conceal_map(resource.attributes), self.conceal_map(resource.outputs)
        )


def _texts(value: Value, sources: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What is to be known of a secret, as text, and where each came from."""
    for leaf in leaves(value):
        if isinstance(leaf, Secret):
            for part in leaf.parts:
                yield from _texts(part, ())
            if not leaf.parts or any(len(str(part.value)) < SHORTEST for part in leaf.parts):
                yield from _texts(leaf.value, leaf.sources)
        elif isinstance(leaf, str | int | float) and not isinstance(leaf, bool):
            yield str(leaf), sources


def _forms(text: str) -> Iterator[str]:
    """The spellings of a text that are long enough; a secret of several lines also line by line."""
    parts = [text, text.strip(), *(line.strip() for line in text.splitlines())]
    spellings = [
        form for part in parts for form in (part, json.dumps(part)[1:-1], quote(part, safe=""))
    ]
    spellings.append(base64.b64encode(text.encode()).decode())
    yield from (form for form in spellings if len(form) >= SHORTEST and len(text) >= SHORTEST)
