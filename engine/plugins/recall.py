"""Recall: recorded options with their secrets evaluated again.

The state remembers of a secret its digest and where it came from (`env TOKEN`, `var token`). The
digest tells whether the source still gives the same value.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.language import scalars
from engine.language.references import rebuild_secret
from engine.options.fields import describe_options, secret_paths
from engine.plugins.calls import Operations
from engine.plugins.lost_secrets import refuse_lost_secrets
from engine.secrets.sealing import Sealer
from engine.state import State, StateEntry
from engine.values import Attributes, Digest, Secret, Unknown, Value, ValuePath, is_plain


class SecretRecall(msgspec.Struct, frozen=True):
    """One state as providers and digests make it readable: recorded options, secrets included.

    `sealer` has the state's salt: with another one, no secret equals its digest.

        memory = SecretRecall.of(operations, state)
        options = memory.recall_options(entry, "delete")
    """

    operations: Operations
    sealer: Sealer

    @classmethod
    def of(cls, operations: Operations, state: State) -> SecretRecall:
        """Make the recollection of a state.

        A state without a salt (DevStream's, or a new one) holds no digest: any salt will do.
        """
        return cls(operations, Sealer(state.salt or "00" * 16))

    def recall_options(
        self, entry: StateEntry, verb: str, current: Attributes | None = None
    ) -> Attributes:
        """Give the recorded options with every secret that a secret option needs.

        A secret is taken from the `current` options, else from its source. One inside an option
        that is not declared secret may be gone: it is UNKNOWN in the built Struct. Raises DtmError
        naming the secrets that are gone and where they came from.
        """
        options = self.recall_available(entry, current)
        needed = {path[0] for path in secret_paths(self.operations.options_struct(entry.address))}
        secret = {key: value for key, value in options.items() if key in needed}
        refuse_lost_secrets(entry.address, secret, verb)
        return options

    def recall_available(self, entry: StateEntry, current: Attributes | None = None) -> Attributes:
        """Recall as `recall_options`, but any secret may be gone: it stays a Digest.

        A secret with another value now (a token that was renewed) stands in for the recorded one,
        unless it names the resource. Then nothing says any more which one was made: DtmError.
        """
        if is_plain(entry.options):
            return entry.options
        evaluation = _Evaluation(self.operations, entry, self.sealer)
        options = evaluation.options(current or {})
        if evaluation.changed:
            self._refuse_renamed(entry.address, options, evaluation.changed)
        return self.operations.learn_secrets(options)

    def _refuse_renamed(self, address: Address, options: Attributes, changed: Attributes) -> None:
        """Raise DtmError if the identity depends on an option whose secret has changed."""
        if isinstance(self.operations.identity(address, options), Unknown):
            return
        for key, value in changed.items():
            # A Digest is UNKNOWN in the built Struct: an identity that uses it gets UNKNOWN too.
            if isinstance(self.operations.identity(address, {**options, key: value}), Unknown):
                refuse_lost_secrets(address, {key: value}, "find")


class _Evaluation:
    """One tool's recorded options with their secrets evaluated again.

    `changed` are the options, as recorded, in which a secret has another value now.
    """

    def __init__(self, operations: Operations, entry: StateEntry, sealer: Sealer) -> None:
        self.changed: dict[str, Value] = {}
        self._operations, self._entry, self._sealer = operations, entry, sealer

    def options(self, current: Attributes) -> Attributes:
        """Take secrets from `current`, else from their sources; else they stay digests."""
        recorded = self._entry.options
        return {
            key: self._value(value, current.get(key), (key,)) for key, value in recorded.items()
        }

    def _value(self, value: Value, now: Value, path: ValuePath) -> Value:
        if isinstance(value, dict):
            inner = now if isinstance(now, dict) else {}
            return {
                name: self._value(item, inner.get(name), (*path, name))
                for name, item in value.items()
            }
        if isinstance(value, list):
            # Lists of different lengths do not pair by position: a wrong secret would stand in.
            items = now if isinstance(now, list) and len(now) == len(value) else [None] * len(value)
            both = zip(value, items, strict=True)
            return [
                self._value(item, one, (*path, index)) for index, (item, one) in enumerate(both)
            ]
        return self._secret(value, now, path) if isinstance(value, Digest) else value

    def _secret(self, recorded: Digest, now: Value, path: ValuePath) -> Value:
        other: Secret | None = None
        key = str(path[0])
        for candidate in self._candidates(recorded, now, key):
            sealed = self._sealer.seal(candidate, self._entry.address, path)
            if isinstance(sealed, Digest) and sealed.digest == recorded.digest:
                return candidate
            # No digest fits if the secret was renewed: then the first value given now is taken.
            other = other or candidate
        if other is None:
            return recorded
        self.changed[key] = self._entry.options[key]
        return other

    def _candidates(self, recorded: Digest, now: Value, key: str) -> Iterator[Secret]:
        if isinstance(now, Secret):
            yield now
        declared = describe_options(self._operations.options_struct(self._entry.address))
        fallback = [f"env {option.env}" for option in declared if option.key == key and option.env]
        for source in [*recorded.sources, *fallback]:
            found = rebuild_secret(source, self._operations.recall)
            if found is not None:
                yield from _spellings(replace(found, sources=recorded.sources))


def _spellings(secret: Secret) -> Iterator[Secret]:
    """Yield a secret as text, then as the number or truth that it may have been taken for."""
    yield secret
    value = scalars.read(secret.value) if isinstance(secret.value, str) else None
    if value is not None and not isinstance(value, str):
        yield replace(secret, value=value.value if isinstance(value, scalars.Literal) else value)
