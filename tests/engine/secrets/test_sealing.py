"""Sealing of secrets as digests."""

import pytest

from engine.address import Address
from engine.errors import StateError
from engine.secrets.sealing import Sealer
from engine.state import Resource
from engine.values import Digest, Secret, Value

HERE, THERE = Address("a", "b"), Address("a", "c")
SALT = "00" * 16


def digest(
    value: Value, address: Address = HERE, path: tuple[str | int, ...] = (), salt: str = SALT
) -> str:
    sealed = Sealer(salt).seal(Secret(value, ("env X",)), address, path)
    assert isinstance(sealed, Digest) and sealed.sources == ("env X",)
    return sealed.digest


def test_digest_depends_on_value_address_path_and_salt() -> None:
    base = digest("hunter2")
    assert base == digest("hunter2")
    others = [
        digest("hunter3"),
        digest("hunter2", THERE),
        digest("hunter2", HERE, ("x",)),
        digest("hunter2", salt="11" * 16),
    ]
    assert len({base, *others}) == 5


def test_sealing_keeps_plain_values_and_the_shape() -> None:
    value: Value = {"list": [1, {"token": Secret("s")}, None], "text": "s"}
    sealed = Sealer(SALT).seal(value, HERE)
    token = Digest(digest("s", HERE, ("list", 1, "token")))
    assert sealed == {"list": [1, {"token": token}, None], "text": "s"}
    assert Sealer(SALT).seal(sealed, HERE) == sealed
    assert sealed is not value


def test_secret_maps_are_sealed_by_their_content() -> None:
    assert digest({"a": 1, "b": [Secret("x")]}) == digest({"b": ["x"], "a": 1}) != digest({"a": 1})


def test_attributes_and_outputs_have_different_digests() -> None:
    sealed = Sealer(SALT).seal_resource(Resource("i", {"t": Secret("x")}, {"t": Secret("x")}), HERE)
    assert isinstance(sealed.attributes["t"], Digest) and isinstance(sealed.outputs["t"], Digest)
    assert sealed.attributes["t"] != sealed.outputs["t"]


def test_sealing_a_secret_without_a_salt_is_refused() -> None:
    assert Sealer("").seal({"a": 1}, HERE) == {"a": 1}
    with pytest.raises(StateError):
        Sealer("").seal(Secret("x"), HERE)
