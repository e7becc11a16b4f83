"""Sealing: replace secrets by digests, the form in which the state stores them."""

from __future__ import annotations

import hmac
import json
from functools import cache
from hashlib import scrypt, sha256
from threading import Lock

import msgspec

from engine.address import Address
from engine.errors import StateError
from engine.state import Resource
from engine.stored.forms import encode_value
from engine.values import Attributes, Digest, Secret, Value, ValuePath, is_plain, reveal

OUTPUTS_ADDRESS = Address("", "outputs")
"""The address under which root outputs are sealed."""


@cache
def _keys_of(_salt: bytes) -> dict[bytes, bytes]:
    """Return the cache of stretched secrets for a salt.

    All sealers with this salt share it, so that a run computes scrypt once for each secret.
    """
    return {}


class Sealer:
    """A converter of secrets to digests: HMAC(scrypt(value, salt), address + path).

    Equal values at different paths have different digests. To guess a secret from its digest, an
    attacker must compute scrypt for each guess (n=2^14, r=8, p=1: about 50 ms). A run computes it
    once for each distinct secret. Safe to use from several threads.

        sealer = Sealer("5a" * 16)
        sealer.seal_map({"token": Secret("hunter22", ("env T",))}, Address("login", "a"))
        # {"token": Digest("4f0c...", ("env T",))}
    """

    def __init__(self, salt: str) -> None:
        self._salt = bytes.fromhex(salt)
        self._keys = _keys_of(self._salt)
        self._lock = Lock()

    def seal(self, value: Value, address: Address, path: ValuePath = ()) -> Value:
        """Return a copy of a value in which every Secret is replaced by its Digest.

        `path` is the path of the value below the address.
        """
        match value:
            case dict():
                return self.seal_map(value, address, path)
            case list():
                return [
                    self.seal(item, address, (*path, index)) for index, item in enumerate(value)
                ]
            case Secret():
                return self._digest(value, address, path)
            case _:
                return value

    def seal_map(
        self, values: Attributes, address: Address, path: ValuePath = ()
    ) -> dict[str, Value]:
        """Seal a map of options, attributes or outputs. One without secrets gets a shallow copy."""
        if is_plain(values):
            return dict(values)
        return {key: self.seal(item, address, (*path, key)) for key, item in values.items()}

    def seal_resource(self, resource: Resource, address: Address) -> Resource:
        """Seal the attributes and outputs of a resource."""
        attributes = self.seal_map(resource.attributes, address, ("resource",))
        return Resource(
            resource.id, attributes, self.seal_map(resource.outputs, address, ("outputs",))
        )

    def _digest(self, secret: Secret, address: Address, path: ValuePath) -> Digest:
        # The path is hashed too. Otherwise equal digests would show which tools share a secret.
        place = json.dumps([address.key, *path]).encode()
        return Digest(hmac.new(self._key(secret), place, sha256).hexdigest(), secret.sources)

    def _key(self, secret: Secret) -> bytes:
        # Sorted JSON, so that 1 and "1" have different digests, and equal maps the same digest.
        text = msgspec.json.encode(encode_value(reveal(secret.value)), order="sorted")
        # The lock is held during scrypt, so that two threads do not compute the same key twice.
        with self._lock:
            if text not in self._keys:
                # Without a salt, equal secrets would have equal digests in all states.
                if not self._salt:
                    raise StateError("a secret cannot be sealed before the state has a salt")
                self._keys[text] = scrypt(text, salt=self._salt, n=2**14, r=8, p=1, dklen=32)
            return self._keys[text]
