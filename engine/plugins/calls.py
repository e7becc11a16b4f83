"""Calls of providers by the engine.

On the way in options are built and secrets revealed; on the way out secrets are marked and
exceptions become errors of dtm.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.config import ToolSpec
from engine.errors import DtmError, PluginError
from engine.language.references import Lookup, resolve, secret_sources
from engine.options.decode import build, decode
from engine.options.fields import describe_options, secret_paths
from engine.plugins.lost_secrets import refuse_lost_secrets
from engine.ports import AnyProvider, Call, HasDerivedAttributes, HasInputFiles, HasRequirements
from engine.secrets.marking import inherit_sensitivity, mark_matches, mark_path
from engine.secrets.redaction import Redactor, contains_secret
from engine.secrets.sealing import Sealer
from engine.state import Resource
from engine.values import (
    HIDDEN,
    UNKNOWN,
    Attributes,
    Deferred,
    Digest,
    Secret,
    Unknown,
    UnknownValueError,
    Value,
    collect_sources,
    find_leaves,
    has_unknown,
    is_plain,
    map_leaves,
)

SecretLookup: TypeAlias = Callable[[str], "Value | None"]
"""The value at a secret's source (`env TOKEN`, `var token`), None if it is not there any more."""

T = TypeVar("T")


class Observer(Protocol):
    """A function around each call that may send a request: it makes the call, and may time it."""

    def __call__(self, address: Address, method: str, call: Callable[[], T], /) -> T:
        """Return what the call returns; raise what it raises.

        def observe(address, method, call):
            print(method, address)
            return call()
        """
        ...


def call_unobserved(_address: Address, _method: str, call: Callable[[], T], /) -> T:
    """Make the call and nothing else."""
    return call()


class Operations(msgspec.Struct, frozen=True):
    """Providers by plugin name, and what every call of them needs.

    `base_dir`: relative paths in options start there. `recall` gives recorded secrets again.
    `redactor` learns every secret that is handed out. `observe` makes each call that may send a
    request. Safe to use from several threads.

        operations = Operations(providers, base_dir, recall)
        live = operations.read(address, options, entry.resource, call)
    """

    providers: Mapping[str, AnyProvider]
    base_dir: Path
    recall: SecretLookup
    redactor: Redactor = msgspec.field(default_factory=Redactor)
    observe: Observer = call_unobserved

    def provider(self, address: Address) -> AnyProvider:
        """Find the provider of a tool.

        Raises PluginError if its plugin is unknown: only that of a recorded tool can be.
        """
        try:
            return self.providers[address.name]
        except (KeyError, PluginError) as error:
            # The plugin exists but could not be loaded: its own error says why.
            if address.name in self.providers:
                raise
            message = (
                error.message
                if isinstance(error, PluginError)
                else f'plugin "{address.name}" is unknown'
            )
            forget = f"dtm state rm {address.dotted}"
            raise PluginError(
                message,
                hint=f"{forget} makes dtm forget it; what it stands for is not touched",
                where=str(address),
            ) from None

    def options_struct(self, address: Address) -> type[msgspec.Struct]:
        """Find the Struct that describes a tool's options."""
        found: type[msgspec.Struct] = self.provider(address).options
        return found

    def build(self, address: Address, options: Attributes) -> Any:
        """Build the Struct that a provider gets, UNKNOWN where a value is not known yet.

        Raises ConfigError.
        """
        return build(options, self.options_struct(address))

    def decode_options(self, address: Address, options: Attributes) -> Attributes:
        """Decode options to their declared types, once their references are resolved.

        Raises DtmError naming every fault.
        """
        values, faults = decode(options, self.options_struct(address), env={})
        if faults:
            raise DtmError(
                "; ".join(fault.message for fault in faults),
                hint=faults[0].hint,
                where=str(address),
            )
        return values

    def resolve_options(self, spec: ToolSpec, lookup: Lookup) -> Attributes:
        """Replace the references in a tool's options by outputs, UNKNOWN where those are.

        Raises DtmError.
        """
        # Options without references were decoded when the config was loaded.
        if not find_leaves(spec.options, Deferred):
            return self.learn_secrets(spec.options)
        options = {key: resolve(value, lookup) for key, value in spec.options.items()}
        if find_leaves(options, Digest):
            raise DtmError(
                "needs a secret output that is known only by its digest",
                hint="it is known again in a run that reads or makes the tool it comes from",
            )
        return self.learn_secrets(self.decode_options(spec.address, options))

    def identity(self, address: Address, options: Attributes) -> str | None | Unknown:
        """Give the natural key; None if there is none, UNKNOWN while an option it needs is."""
        try:
            return self.provider(address).identity(self.build(address, options))
        except UnknownValueError:
            return UNKNOWN

    def refuse_secret_identity(self, address: Address, options: Attributes) -> None:
        """Raise DtmError if a secret would name the resource: the state holds names in clear.

        A name that is not known yet is not checked.
        """
        secrets = find_leaves(options, Secret)
        identity = self.identity(address, options) if secrets else None
        if (
            identity is None
            or isinstance(identity, Unknown)
            or not contains_secret(identity, secrets)
        ):
            return
        # That the text stands in the name may be chance. Asked without its secrets, the plugin
        # fails only if it uses one for the name.
        without = {key: map_leaves(value, _forget) for key, value in options.items()}
        if isinstance(self.identity(address, without), Unknown):
            names = (name for source in collect_sources(secrets) for name in secret_sources(source))
            came = " and ".join(dict.fromkeys(names))
            raise DtmError(
                "would be named by a secret, and its name stands in the state",
                hint=f"keep secrets out of paths, URLs and names{came and f': {came}'}",
                where=str(address),
            )

    def predict(
        self, address: Address, options: Attributes, resource: Resource | None
    ) -> Attributes | Unknown:
        """Predict the outputs, with every declared key; UNKNOWN if not even keys are known."""
        provider = self.provider(address)
        declared: type[msgspec.Struct] | None = provider.outputs
        found: dict[str, Value] = (
            {option.key: UNKNOWN for option in describe_options(declared)} if declared else {}
        )
        built = self.build(address, options)
        # A prediction that needs an unknown option says nothing: declared keys stay UNKNOWN.
        with suppress(UnknownValueError):
            found.update(provider.predict(built, resource))
        if not found:
            return UNKNOWN
        return self.redactor.mark_map(mark_matches(found, find_leaves(options, Secret)))

    def outputs(
        self, address: Address, options: Attributes, live: Resource, sealer: Sealer
    ) -> Attributes:
        """Give the outputs of an unchanged tool, for references.

        A secret output of which the state knows only the digest is taken from a prediction, if its
        digest is the same.
        """
        # The usual case: without a secret there is nothing to find again.
        if is_plain(live.outputs):
            return live.outputs
        predicted = self.predict(address, options, live)
        if isinstance(predicted, Unknown) or has_unknown(predicted):
            return live.outputs
        sealed = sealer.seal_resource(replace(live, outputs=predicted), address)
        return {
            key: predicted[key] if sealed.outputs.get(key) == value else value
            for key, value in live.outputs.items()
        }

    def mark_secrets(
        self,
        address: Address,
        options: Attributes,
        resource: Resource,
        before: Resource | None,
    ) -> Resource:
        """Put a Secret around each secret in a resource that a provider reported.

        Secret are the outputs declared so, whatever holds a secret of an option or another known
        one, and values in places where `before` has a secret.
        """
        declared: type[msgspec.Struct] | None = self.provider(address).outputs
        outputs: Attributes = resource.outputs
        for path in secret_paths(declared) if declared else ():
            source = f"output {address.dotted}.outputs.{'.'.join(path)}"
            outputs = {
                key: mark_path(value, path[1:], source) if key == path[0] else value
                for key, value in outputs.items()
            }
        self.learn_secrets(outputs)  # learned first: an attribute may hold the same secret
        secrets = find_leaves(options, Secret)
        if outputs is not resource.outputs or secrets:
            attributes = mark_matches(resource.attributes, secrets)
            resource = replace(
                resource, attributes=attributes, outputs=mark_matches(outputs, secrets)
            )
        resource = self.redactor.mark_resource(resource)
        return inherit_sensitivity(resource, before) if before else resource

    def learn_secrets(self, options: Attributes) -> Attributes:
        """Give the same options; their secrets are redacted in every text from now on."""
        for secret in find_leaves(options, Secret):
            self.redactor.add(secret)
        return options

    def read(
        self, address: Address, options: Attributes, resource: Resource | None, call: Call
    ) -> Resource | None:
        """Read the live resource; None if it is gone.

        Raises DtmError, whatever the provider raised.
        """
        provider = self.provider(address)
        built = self.build(address, options)
        known = None if resource and self._nameless(address, options, resource) else resource

        def reading() -> Resource | None:
            found = self.observe(address, "read", lambda: provider.read(built, known, call))
            return found and self.mark_secrets(address, options, found, resource)

        try:
            return call_guarded(provider.plugin, "read", reading)
        except UnknownValueError as error:
            refuse_lost_secrets(address, options, "read")
            raise DtmError(
                "reading it needs an option that is only known after apply", where=str(address)
            ) from error

    def _nameless(self, address: Address, options: Attributes, resource: Resource) -> bool:
        """Check whether the id was recorded without a secret: only the identity finds it then.

        Raises DtmError if there is no identity either.
        """
        if HIDDEN not in resource.id:
            return False
        if self.identity(address, options) is None:
            raise DtmError(
                f"{address} cannot be looked up: its id holds a secret, "
                "and secrets are not recorded",
                hint="remove the thing by hand, and then its record: "
                f"dtm state rm {address.dotted}",
                where=str(address),
            )
        return True

    def derived_attributes(self, address: Address) -> Collection[str]:
        """Name the attributes that follow from the tool's inputs alone."""
        provider = self.provider(address)
        if not _offers(type(provider), HasDerivedAttributes):
            return ()
        assert isinstance(provider, HasDerivedAttributes)
        return provider.derived_attributes()

    def missing_requirements(self, address: Address, options: Attributes) -> list[str]:
        """Describe the binaries, variables and credentials that the provider lacks.

        Raises DtmError if it asks for an option whose secret is gone.
        """
        provider = self.provider(address)
        if not _offers(type(provider), HasRequirements):
            return []
        assert isinstance(provider, HasRequirements)
        try:
            return list(provider.missing_requirements(self.build(address, options)))
        except UnknownValueError:
            refuse_lost_secrets(address, options, "delete")
            return []

    def missing_inputs(self, address: Address, options: Attributes) -> list[str]:
        """Describe the paths that the options name and that do not exist."""
        provider = self.provider(address)
        if not _offers(type(provider), HasInputFiles):
            return []
        assert isinstance(provider, HasInputFiles)
        try:
            named = provider.input_paths(self.build(address, options))
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


@cache
def _offers(kind: type, more: type) -> bool:
    """Check whether a provider's class has an optional protocol; cached, since it is slow."""
    return issubclass(kind, more)


def call_guarded(plugin: str, method: str, call: Callable[[], T]) -> T:
    """Call; any exception but DtmError and UnknownValueError becomes PluginError."""
    try:
        return call()
    # An unknown value is not a fault of the plugin: each caller decides what it means.
    except (DtmError, UnknownValueError):
        raise
    except Exception as error:  # plugins may raise anything
        raise PluginError(
            f'plugin "{plugin}" failed in {method}: {type(error).__name__}: {error}'
        ) from error


def _forget(leaf: Value) -> Value:
    return UNKNOWN if isinstance(leaf, Secret) else leaf
