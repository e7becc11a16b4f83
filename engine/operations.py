"""The providers as the engine calls them: options built and secrets revealed on the way in, secrets found on the way out."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec

from engine.address import Address
from engine.decode import build, decode, replace_paths, secret_paths
from engine.errors import DtmError, PluginError
from engine.options import options_of
from engine.ports import AnyProvider, Call, Consuming, Deriving, Requiring
from engine.references import TEXT, evaluate
from engine.secrets import Redactor, Sealer
from engine.state import Resource, State, StateEntry
from engine.values import (
    UNKNOWN,
    Attributes,
    Digest,
    Secret,
    Unknown,
    UnknownValueError,
    Value,
    holds_unknown,
    is_plain,
    leaves,
)

Recall: TypeAlias = Callable[[str], "Value | None"]
"""A secret's value from where it came from (`env TOKEN`, `var token`); None if it is not there any more."""

T = TypeVar("T")

SHORTEST = 6
"""Shorter secrets are only recognised in outputs that equal them."""


@dataclass(frozen=True, slots=True)
class Operations:
    """Providers by plugin name, and what every call of them needs. Safe to use from several threads.

    `base_dir`: what relative paths in options are relative to. `redactor` learns every secret that is handed out.
    """

    providers: Mapping[str, AnyProvider]
    base_dir: Path
    recall: Recall
    redactor: Redactor = field(default_factory=Redactor)

    def provider(self, address: Address) -> AnyProvider:
        """The provider of a tool. Raises PluginError if its plugin is unknown, as only a recorded tool's can be."""
        try:
            return self.providers[address.name]
        except (KeyError, PluginError) as error:
            if address.name in self.providers:
                raise
            told = error.message if isinstance(error, PluginError) else f'plugin "{address.name}" is unknown'
            hint = f"dtm state rm {address.dotted} makes dtm forget it; what it stands for is not touched"
            raise PluginError(told, hint=hint, where=str(address)) from None

    def struct(self, address: Address) -> type[msgspec.Struct]:
        """What describes a tool's options."""
        found: type[msgspec.Struct] = self.provider(address).options
        return found

    def build(self, address: Address, options: Attributes) -> Any:
        """The options Struct that a provider gets; what is not known yet is UNKNOWN in it. Raises ConfigError."""
        struct = self.struct(address)
        if is_plain(options):
            with suppress(msgspec.ValidationError):
                return msgspec.convert(options, struct)
        return build(options, struct)

    def decoded(self, address: Address, options: Attributes) -> Attributes:
        """Options whose references are resolved by now, by their declared types. Raises DtmError naming every fault."""
        values, faults = decode(options, self.struct(address), env={})
        if faults:
            raise DtmError("; ".join(fault.message for fault in faults), hint=faults[0].hint, where=str(address))
        return values

    def replacing(self, address: Address) -> frozenset[tuple[str, ...]]:
        """Paths of the options whose change forces replacement."""
        return replace_paths(self.struct(address))

    def identity(self, address: Address, options: Attributes) -> str | None | Unknown:
        """The natural key, None if the plugin has none, UNKNOWN while an option that it needs is."""
        return self.identity_of(address, self.build(address, options))

    def identity_of(self, address: Address, built: Any) -> str | None | Unknown:
        """`identity`, of options that are built already."""
        try:
            return self.provider(address).identity(built)
        except UnknownValueError:
            return UNKNOWN

    def predict(self, address: Address, options: Attributes, resource: Resource | None) -> Attributes | Unknown:
        """Outputs as they will be; every declared key is there. UNKNOWN if nothing can be said, not even the keys."""
        return self.predict_of(address, self.build(address, options), options, resource)

    def predict_of(self, address: Address, built: Any, options: Attributes, resource: Resource | None) -> Attributes | Unknown:
        """`predict`, of options that are built already."""
        provider = self.provider(address)
        declared: type[msgspec.Struct] | None = provider.outputs
        found: dict[str, Value] = {option.key: UNKNOWN for option in options_of(declared)} if declared else {}
        with suppress(UnknownValueError):
            found.update(provider.predict(built, resource))
        return concealed(found, secrets_of(options)) if found else UNKNOWN

    def outputs(self, address: Address, options: Attributes, live: Resource, sealer: Sealer) -> Attributes:
        """Outputs of an unchanged tool, for references: a secret that only the state knows, by digest, is predicted again."""
        if is_plain(live.outputs):
            return live.outputs
        predicted = self.predict(address, options, live)
        if isinstance(predicted, Unknown) or any(map(holds_unknown, predicted.values())):
            return live.outputs
        sealed = sealer.seal_resource(replace(live, outputs=predicted), address)
        return {key: predicted[key] if sealed.outputs.get(key) == value else value for key, value in live.outputs.items()}

    def found(self, address: Address, options: Attributes, resource: Resource) -> Resource:
        """What a provider reported, with secret outputs marked: those declared so, and those that hold an option's secret.

        Texts in attributes are cleaned of secrets; those in outputs are when they are recorded, since references need them.
        """
        declared: type[msgspec.Struct] | None = self.provider(address).outputs
        outputs: Attributes = resource.outputs
        for path in secret_paths(declared) if declared else ():
            source = f"output {address.dotted}.outputs.{'.'.join(path)}"
            outputs = {key: _marked(value, path[1:], source) if key == path[0] else value for key, value in outputs.items()}
        self.known(outputs)
        secrets = secrets_of(options)
        if outputs is not resource.outputs or secrets:
            resource = replace(resource, outputs=concealed(outputs, secrets))
        clean = self.redactor.clean_resource(resource)
        return resource if clean is resource else replace(clean, outputs=resource.outputs)

    def known(self, options: Attributes) -> Attributes:
        """The same options, their secrets from now on blotted out of every text."""
        for secret in secrets_of(options):
            self.redactor.add(secret)
        return options

    def recalled(self, entry: StateEntry, verb: str, sealer: Sealer, current: Attributes | None = None) -> Attributes:
        """Recorded options with their secrets evaluated again: as the `current` options have them, else from their source.

        Raises DtmError naming the first secret option that is gone and where it came from. A secret value in an option that
        is none by itself may be gone: it is UNKNOWN in the built Struct.
        """
        options = self.recalled_if_possible(entry, sealer, current)
        needed = {path[0] for path in secret_paths(self.struct(entry.address))}
        self.refuse_lost(entry.address, {key: value for key, value in options.items() if key in needed}, verb)
        return options

    def recalled_if_possible(self, entry: StateEntry, sealer: Sealer, current: Attributes | None = None) -> Attributes:
        """`recalled`, but any secret may be gone.

        One that is another now than was recorded stands in for it (a token that was renewed), unless it names the thing:
        DtmError then, since nothing says any more which thing was made.
        """
        if is_plain(entry.options):
            return entry.options
        recall = _Recollection(self, entry.address, sealer)
        options = recall.options(entry.options, current or {})
        if recall.doubtful:
            self._refuse_renamed(entry.address, options, recall.doubtful)
        return self.known(options)

    def _refuse_renamed(self, address: Address, options: Attributes, doubtful: Attributes) -> None:
        """Raise DtmError if the identity depends on a secret that is another now; `doubtful` holds what was recorded."""
        if isinstance(self.identity(address, options), Unknown):
            return
        for key, value in doubtful.items():
            if isinstance(self.identity(address, {**options, key: value}), Unknown):
                self.refuse_lost(address, {key: value}, "find")

    def refuse_lost(self, address: Address, options: Attributes, verb: str) -> None:
        """Raise DtmError for the first secret that is known only by its digest."""
        for key, value in options.items():
            for leaf in leaves(value):
                if isinstance(leaf, Digest):
                    sources = ", ".join(source.removeprefix(TEXT) for source in leaf.sources)
                    came = f", which came from {sources}" if sources else ""
                    raise DtmError(
                        f"to {verb} {address.dotted} I need option {key}{came}",
                        hint="set it again, as it was when the tool was made",
                        where=str(address),
                    )

    def read(self, address: Address, options: Attributes, resource: Resource | None, call: Call) -> Resource | None:
        """What is live, None if it is gone. Raises DtmError, whatever the provider raised."""
        provider = self.provider(address)
        built = self.build(address, options)

        def reading() -> Resource | None:
            found = provider.read(built, resource, call)
            return found and self.found(address, options, found)

        try:
            return guarded(provider.plugin, "read", reading)
        except UnknownValueError as error:
            self.refuse_lost(address, options, "read")
            raise DtmError("reading it needs an option that is only known after apply", where=str(address)) from error

    def derived(self, address: Address) -> Collection[str]:
        """Names of the attributes that say what the tool's inputs come to."""
        provider = self.provider(address)
        if not _offers(type(provider), Deriving):
            return ()
        assert isinstance(provider, Deriving)
        return provider.derived()

    def missing(self, address: Address, options: Attributes) -> list[str]:
        """What the provider says is absent before its first call: binaries, variables, credentials."""
        provider = self.provider(address)
        if not _offers(type(provider), Requiring):
            return []
        assert isinstance(provider, Requiring)
        try:
            return list(provider.requires(self.build(address, options)))
        except UnknownValueError:
            return []

    def absent(self, address: Address, options: Attributes) -> list[str]:
        """What the options name and is not there, as sentences."""
        provider = self.provider(address)
        if not _offers(type(provider), Consuming):
            return []
        assert isinstance(provider, Consuming)
        try:
            named = provider.inputs(self.build(address, options))
            places = {option: self.base_dir / os.path.expanduser(path) for option, path in named.items()}  # noqa: PTH111 - raises nothing
        except UnknownValueError:
            return []
        return [f"{option}: there is no {place}" for option, place in places.items() if not os.path.exists(place)]  # noqa: PTH110


class _Recollection:
    """Evaluates one tool's recorded secrets again; the digest tells the recorded value from a later one.

    `doubtful` are the options as recorded whose secrets turned out to be others now.
    """

    def __init__(self, operations: Operations, address: Address, sealer: Sealer) -> None:
        self.doubtful: dict[str, Value] = {}
        self._operations, self._address, self._sealer = operations, address, sealer
        self._recorded: Attributes = {}

    def options(self, recorded: Attributes, now: Attributes) -> Attributes:
        """The recorded options with secrets from `now`, else from their sources, else still as digests."""
        self._recorded = recorded
        return {key: self._value(value, now.get(key), (key,)) for key, value in recorded.items()}

    def _value(self, value: Value, now: Value, path: tuple[str | int, ...]) -> Value:
        if isinstance(value, dict):
            inner = now if isinstance(now, dict) else {}
            return {name: self._value(item, inner.get(name), (*path, name)) for name, item in value.items()}
        if isinstance(value, list):
            items = now if isinstance(now, list) and len(now) == len(value) else [None] * len(value)
            both = zip(value, items, strict=True)
            return [self._value(item, one, (*path, index)) for index, (item, one) in enumerate(both)]
        return self._secret(value, now, path) if isinstance(value, Digest) else value

    def _secret(self, recorded: Digest, now: Value, path: tuple[str | int, ...]) -> Value:
        other: Secret | None = None
        for candidate in self._candidates(recorded, now, str(path[0])):
            sealed = self._sealer.seal(candidate, self._address, path)
            if isinstance(sealed, Digest) and sealed.digest == recorded.digest:
                return candidate
            other = other or candidate
        if other is None:
            return recorded
        self.doubtful[str(path[0])] = self._recorded[str(path[0])]
        return other

    def _candidates(self, recorded: Digest, now: Value, key: str) -> Iterator[Secret]:
        if isinstance(now, Secret):
            yield now
        declared = options_of(self._operations.struct(self._address))
        fallback = [f"env {option.env}" for option in declared if option.key == key and option.env]
        for source in [*recorded.sources, *fallback]:
            value = evaluate(source, self._operations.recall)
            if value is not None:
                yield Secret(value, recorded.sources)


@cache
def _offers(kind: type, more: type) -> bool:
    """Whether a provider's class is more than a Provider; asking costs too much to do it for every tool."""
    return issubclass(kind, more)


def sealer_of(state: State) -> Sealer:
    """What compares with the secrets of a state. One without a salt (DevStream's, or none yet) holds no digest to compare."""
    return Sealer(state.salt or "00" * 16)


def guarded(plugin: str, method: str, call: Callable[[], T]) -> T:
    """The call's result. Raises DtmError and UnknownValueError; anything else is a fault of the plugin and says so."""
    try:
        return call()
    except (DtmError, UnknownValueError):
        raise
    except Exception as error:  # plugins may raise anything
        raise PluginError(f'plugin "{plugin}" failed in {method}: {type(error).__name__}: {error}') from error


def secrets_of(values: Attributes) -> list[Secret]:
    """Every secret inside."""
    if is_plain(values):
        return []
    return [leaf for value in values.values() for leaf in leaves(value) if isinstance(leaf, Secret)]


def _marked(value: Value, path: tuple[str, ...], source: str) -> Value:
    """The value with a Secret at a path, where "*" is any step."""
    if not path:
        return value if value is None or isinstance(value, Secret | Unknown | Digest) else Secret(value, (source,))
    if isinstance(value, dict):
        return {key: _marked(item, path[1:], source) if path[0] in ("*", key) else item for key, item in value.items()}
    if isinstance(value, list) and path[0] == "*":
        return [_marked(item, path[1:], source) for item in value]
    return value


def concealed(values: Attributes, secrets: list[Secret]) -> Attributes:
    """The values with everything that equals one of the secrets, or is a text around one, made a Secret."""
    return {key: _concealed(value, secrets) for key, value in values.items()} if secrets else values


def _concealed(value: Value, secrets: list[Secret]) -> Value:
    sources = tuple(dict.fromkeys(source for secret in secrets if _holds(value, secret.value) for source in secret.sources))
    if any(_holds(value, secret.value) for secret in secrets):
        return Secret(value, sources)
    if isinstance(value, dict):
        return {key: _concealed(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_concealed(item, secrets) for item in value]
    return value


def _holds(value: Value, secret: Value) -> bool:
    if isinstance(value, str) and isinstance(secret, str) and len(secret) >= SHORTEST:
        return secret in value
    return type(value) is type(secret) and value not in (None, "", True, False) and value == secret
