"""The providers as the engine calls them: options built and secrets revealed on the way in, secrets found on the way out."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.errors import DtmError, PluginError
from engine.language import scalars
from engine.language.references import TEXT, evaluate, origins
from engine.loading.variables import PREFIX
from engine.options.decode import build, decode
from engine.options.fields import options_of, replace_paths, secret_paths
from engine.ports import AnyProvider, Call, Consuming, Deriving, Requiring
from engine.secrets.marking import concealed, marked, secrets_of, tainted, tells
from engine.secrets.sealing import Redactor, Sealer
from engine.state import Resource, State, StateEntry
from engine.values import (
    HIDDEN,
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
    map_leaves,
)

Recall: TypeAlias = Callable[[str], "Value | None"]
"""A secret's value from where it came from (`env TOKEN`, `var token`); None if it is not there any more."""

T = TypeVar("T")


class Operations(msgspec.Struct, frozen=True):
    """Providers by plugin name, and what every call of them needs. Safe to use from several threads.

    `base_dir`: what relative paths in options are relative to. `redactor` learns every secret that is handed out.
    """

    providers: Mapping[str, AnyProvider]
    base_dir: Path
    recall: Recall
    redactor: Redactor = msgspec.field(default_factory=Redactor)

    def provider(self, address: Address) -> AnyProvider:
        """The provider of a tool. Raises PluginError if its plugin is unknown, as only a recorded tool's can be."""
        try:
            return self.providers[address.name]
        except (KeyError, PluginError) as error:
            if address.name in self.providers:
                raise
            told = (
                error.message
                if isinstance(error, PluginError)
                else f'plugin "{address.name}" is unknown'
            )
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
            raise DtmError(
                "; ".join(fault.message for fault in faults),
                hint=faults[0].hint,
                where=str(address),
            )
        return values

    def replacing(self, address: Address) -> frozenset[tuple[str, ...]]:
        """Paths of the options whose change forces replacement."""
        return replace_paths(self.struct(address))

    def identity(self, address: Address, options: Attributes) -> str | None | Unknown:
        """The natural key, None if the plugin has none, UNKNOWN while an option that it needs is."""
        return self.identity_of(address, self.build(address, options))

    def refuse_secret_name(self, address: Address, options: Attributes) -> None:
        """Raise DtmError if a secret would name the thing, as far as its name is known: it will stand in the state."""
        secrets = secrets_of(options)
        identity = self.identity(address, options) if secrets else None
        if identity is None or isinstance(identity, Unknown) or not tells(identity, secrets):
            return
        without = {key: map_leaves(value, _forget) for key, value in options.items()}
        if isinstance(self.identity(address, without), Unknown):
            came = " and ".join(
                dict.fromkeys(
                    name for each in secrets for source in each.sources for name in origins(source)
                )
            )
            raise DtmError(
                "would be named by a secret, and its name stands in the state",
                hint=f"keep secrets out of paths, URLs and names{came and f': {came}'}",
                where=str(address),
            )

    def identity_of(self, address: Address, built: Any) -> str | None | Unknown:
        """`identity`, of options that are built already."""
        try:
            return self.provider(address).identity(built)
        except UnknownValueError:
            return UNKNOWN

    def predict(
        self, address: Address, options: Attributes, resource: Resource | None
    ) -> Attributes | Unknown:
        """Outputs as they will be; every declared key is there. UNKNOWN if nothing can be said, not even the keys."""
        return self.predict_of(address, self.build(address, options), options, resource)

    def predict_of(
        self, address: Address, built: Any, options: Attributes, resource: Resource | None
    ) -> Attributes | Unknown:
        """`predict`, of options that are built already."""
        provider = self.provider(address)
        declared: type[msgspec.Struct] | None = provider.outputs
        found: dict[str, Value] = (
            {option.key: UNKNOWN for option in options_of(declared)} if declared else {}
        )
        with suppress(UnknownValueError):
            found.update(provider.predict(built, resource))
        return (
            self.redactor.conceal_map(concealed(found, secrets_of(options))) if found else UNKNOWN
        )

    def outputs(
        self, address: Address, options: Attributes, live: Resource, sealer: Sealer
    ) -> Attributes:
        """Outputs of an unchanged tool, for references: a secret that only the state knows, by digest, is predicted again."""
        if is_plain(live.outputs):
            return live.outputs
        predicted = self.predict(address, options, live)
        if isinstance(predicted, Unknown) or any(map(holds_unknown, predicted.values())):
            return live.outputs
        sealed = sealer.seal_resource(replace(live, outputs=predicted), address)
        return {
            key: predicted[key] if sealed.outputs.get(key) == value else value
            for key, value in live.outputs.items()
        }

    def found(
        self,
        address: Address,
        options: Attributes,
        resource: Resource,
        before: Resource | None = None,
    ) -> Resource:
        """What a provider reported, with everything a Secret that is one.

        These are outputs declared so, whatever holds an option's secret or any other that is known, and what stands where
        `before` has one.
        """
        declared: type[msgspec.Struct] | None = self.provider(address).outputs
        outputs: Attributes = resource.outputs
        for path in secret_paths(declared) if declared else ():
            source = f"output {address.dotted}.outputs.{'.'.join(path)}"
            outputs = {
                key: marked(value, path[1:], source) if key == path[0] else value
                for key, value in outputs.items()
            }
        self.known(outputs)
        secrets = secrets_of(options)
        if outputs is not resource.outputs or secrets:
            attributes = concealed(resource.attributes, secrets)
            resource = replace(resource, attributes=attributes, outputs=concealed(outputs, secrets))
        resource = self.redactor.conceal_resource(resource)
        return tainted(resource, before) if before else resource

    def known(self, options: Attributes) -> Attributes:
        """The same options, their secrets from now on blotted out of every text."""
        for secret in secrets_of(options):
            self.redactor.add(secret)
        return options

    def recalled(
        self, entry: StateEntry, verb: str, sealer: Sealer, current: Attributes | None = None
    ) -> Attributes:
        """Recorded options with their secrets evaluated again: as the `current` options have them, else from their source.

        Raises DtmError naming the first secret option that is gone and where it came from. A secret value in an option that
        is none by itself may be gone: it is UNKNOWN in the built Struct.
        """
        options = self.recalled_if_possible(entry, sealer, current)
        needed = {path[0] for path in secret_paths(self.struct(entry.address))}
        self.refuse_lost(
            entry.address, {key: value for key, value in options.items() if key in needed}, verb
        )
        return options

    def recalled_if_possible(
        self, entry: StateEntry, sealer: Sealer, current: Attributes | None = None
    ) -> Attributes:
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
        """Raise DtmError that names the secrets which are known only by their digests, if there are any."""
        lost = {
            key: [leaf for leaf in leaves(value) if isinstance(leaf, Digest)]
            for key, value in options.items()
        }
        keys = [key for key, digests in lost.items() if digests]
        if keys:
            sources = dict.fromkeys(
                source for key in keys for leaf in lost[key] for source in leaf.sources
            )
            came = " and ".join(source.removeprefix(TEXT) for source in sources)
            raise DtmError(
                f"to {verb} {address.dotted} I need option {' and '.join(keys)}{came and f', which came from {came}'}",
                hint=f"{_again(sources)}, as it was when the tool was made",
                where=str(address),
            )

    def read(
        self, address: Address, options: Attributes, resource: Resource | None, call: Call
    ) -> Resource | None:
        """What is live, None if it is gone. Raises DtmError, whatever the provider raised."""
        provider = self.provider(address)
        built = self.build(address, options)
        known = None if resource and self._nameless(address, built, resource) else resource

        def reading() -> Resource | None:
            found = provider.read(built, known, call)
            return found and self.found(address, options, found, resource)

        try:
            return guarded(provider.plugin, "read", reading)
        except UnknownValueError as error:
            self.refuse_lost(address, options, "read")
            raise DtmError(
                "reading it needs an option that is only known after apply", where=str(address)
            ) from error

    def _nameless(self, address: Address, built: Any, resource: Resource) -> bool:
        """Whether the id held a secret and so was not recorded whole. Raises DtmError if nothing else finds the thing."""
        if HIDDEN not in resource.id:
            return False
        if self.identity_of(address, built) is None:
            raise DtmError(
                f"{address} cannot be looked up: its id holds a secret, and secrets are not recorded",
                hint=f"remove the thing by hand, and then its record: dtm state rm {address.dotted}",
                where=str(address),
            )
        return True

    def derived(self, address: Address) -> Collection[str]:
        """Names of the attributes that say what the tool's inputs come to."""
        provider = self.provider(address)
        if not _offers(type(provider), Deriving):
            return ()
        assert isinstance(provider, Deriving)
        return provider.derived()

    def missing(self, address: Address, options: Attributes) -> list[str]:
        """What the provider says is absent before its first call: binaries, variables, credentials.

        Raises DtmError if it asks for an option whose secret is gone.
        """
        provider = self.provider(address)
        if not _offers(type(provider), Requiring):
            return []
        assert isinstance(provider, Requiring)
        try:
            return list(provider.requires(self.build(address, options)))
        except UnknownValueError:
            self.refuse_lost(address, options, "delete")
            return []

    def absent(self, address: Address, options: Attributes) -> list[str]:
        """What the options name and is not there, as sentences."""
        provider = self.provider(address)
        if not _offers(type(provider), Consuming):
            return []
        assert isinstance(provider, Consuming)
        try:
            named = provider.inputs(self.build(address, options))
            places = {
                option: self.base_dir / os.path.expanduser(path)  # noqa: PTH111 - raises nothing
                for option, path in named.items()
            }
        except UnknownValueError:
            return []
        return [
            f"{option}: there is no {place}"
            for option, place in places.items()
            if not os.path.exists(place)  # noqa: PTH110 - raises nothing
        ]


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
            return {
                name: self._value(item, inner.get(name), (*path, name))
                for name, item in value.items()
            }
        if isinstance(value, list):
            items = now if isinstance(now, list) and len(now) == len(value) else [None] * len(value)
            both = zip(value, items, strict=True)
            return [
                self._value(item, one, (*path, index)) for index, (item, one) in enumerate(both)
            ]
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
            found = evaluate(source, self._operations.recall)
            if found is not None:
                yield from _spellings(replace(found, sources=recorded.sources))


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
        raise PluginError(
            f'plugin "{plugin}" failed in {method}: {type(error).__name__}: {error}'
        ) from error


def _again(sources: Iterable[str]) -> str:
    """How to give secrets that are gone."""
    names = [origin.partition(" ") for source in sources for origin in origins(source)]
    given = [
        PREFIX + name.partition(".")[0] if kind == "var" else name
        for kind, _, name in names
        if kind in ("env", "var")
    ]
    return f"export {'=... '.join(dict.fromkeys(given))}=..." if given else "set it again"


def _forget(leaf: Value) -> Value:
    return UNKNOWN if isinstance(leaf, Secret) else leaf


def _spellings(secret: Secret) -> Iterator[Secret]:
    """A secret as text, and as the number or truth that it may have been taken for."""
    yield secret
    value = scalars.read(secret.value) if isinstance(secret.value, str) else None
    if value is not None and not isinstance(value, str):
        yield replace(secret, value=value.value if isinstance(value, scalars.Literal) else value)
