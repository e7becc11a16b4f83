"""Recall: the recorded options of a tool, with the values of their secrets.

The state stores a secret as its digest and its sources (`env TOKEN`, `var token`). To recall a
secret is to evaluate its sources again. The digest shows whether they still give the same value.
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
    """A reader of recorded options that evaluates their secrets again.

    `sealer` must have the salt of the state: with another salt, no secret matches its digest.

        memory = SecretRecall.of(operations, state)
        options = memory.recall_options(entry, "delete")
    """

    operations: Operations
    sealer: Sealer

    @classmethod
    def of(cls, operations: Operations, state: State) -> SecretRecall:
        """Return the recall for a state.

        A state without a salt (a new one, or one of DevStream) contains no digest. Any salt works.
        """
        return cls(operations, Sealer(state.salt or "00" * 16))

    def recall_options(
        self, entry: StateEntry, verb: str, current: Attributes | None = None
    ) -> Attributes:
        """Return the recorded options with the values of all options that are declared secret.

        A secret is taken from the `current` options of the tool, or else from its sources. A secret
        inside another option may be lost: it is UNKNOWN in the built Struct. Raises DtmError, for
        the call `verb`, if a declared secret is lost; the error names its sources.
        """
        options = self.recall_available(entry, current)
        needed = {path[0] for path in secret_paths(self.operations.options_struct(entry.address))}
        secret = {key: value for key, value in options.items() if key in needed}
        refuse_lost_secrets(entry.address, secret, verb)
        return options

    def recall_available(self, entry: StateEntry, current: Attributes | None = None) -> Attributes:
        """Return the recorded options; a lost secret stays a Digest.

        If a secret has another value now, such as a renewed token, the new value is used. Raises
        DtmError if that secret is part of the identity: the new value would name another resource.
        """
        if is_plain(entry.options):
            return entry.options
        evaluation = _Evaluation(self.operations, entry, self.sealer)
        options = evaluation.options(current or {})
        if evaluation.changed:
            self._refuse_changed_identity(entry.address, options, evaluation.changed)
        return self.operations.learn_secrets(options)

    def _refuse_changed_identity(
        self, address: Address, options: Attributes, changed: Attributes
    ) -> None:
        """Raise DtmError if the identity depends on an option whose secret has changed."""
        if isinstance(self.operations.identity(address, options), Unknown):
            return
        for key, value in changed.items():
            # A Digest is UNKNOWN in the built Struct, which makes an identity that uses it UNKNOWN.
            if isinstance(self.operations.identity(address, {**options, key: value}), Unknown):
                refuse_lost_secrets(address, {key: value}, "find", changed=True)


class _Evaluation:
    """One evaluation of the secrets in a tool's recorded options.

    `changed` holds the recorded values of the options in which a secret has another value now.
    """

    def __init__(self, operations: Operations, entry: StateEntry, sealer: Sealer) -> None:
        self.changed: dict[str, Value] = {}
        self._operations, self._entry, self._sealer = operations, entry, sealer

    def options(self, current: Attributes) -> Attributes:
        """Return the options; secrets come from `current` or their sources, or stay digests."""
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
            # Lists of different lengths are not paired by position: a tool would get the secret of
            # another item.
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
            # No candidate matches the digest of a renewed secret. Then the first one is used.
            other = other or candidate
        if other is None:
            return recorded
        self.changed[key] = self._entry.options[key]
        return other

    def _candidates(self, recorded: Digest, now: Value, key: str) -> Iterator[Secret]:
        """Yield the values that the secret may have: from the config, then from its sources."""
        if isinstance(now, Secret):
            yield now
        declared = describe_options(self._operations.options_struct(self._entry.address))
        fallback = [f"env {option.env}" for option in declared if option.key == key and option.env]
        for source in [*recorded.sources, *fallback]:
            found = rebuild_secret(source, self._operations.recall)
            if found is not None:
                yield from _spellings(replace(found, sources=recorded.sources))


def _spellings(secret: Secret) -> Iterator[Secret]:
    """Yield a secret as text, then as the number or boolean that it may have been before."""
    yield secret
    value = scalars.read(secret.value) if isinstance(secret.value, str) else None
    if value is not None and not isinstance(value, str):
        yield replace(secret, value=value.value if isinstance(value, scalars.Literal) else value)
