"""Calls of providers by the engine.

Before a call, options are built and secrets are revealed. After a call, secrets in the result are
marked, and exceptions become errors of dtm.
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

SecretEvaluator: TypeAlias = Callable[[str], "Value | None"]
"""A function that returns the value at a secret's source (`env TOKEN`, `var token`), or None."""

T = TypeVar("T")


class Observer(Protocol):
    """A function that makes each call that may send a request, and may measure its time."""

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
    """The providers by plugin name, and the operations that the engine needs of them.

    Relative paths in options start at `base_dir`. `recall` looks up the value of a recorded secret.
    `redactor` learns every secret before it is passed on. `observe` makes each call that may send a
    request. Safe to use from several threads.

        operations = Operations(providers, base_dir, recall)
        live = operations.read(address, options, entry.resource, call)
    """

    providers: Mapping[str, AnyProvider]
    base_dir: Path
    recall: SecretEvaluator
    redactor: Redactor = msgspec.field(default_factory=Redactor)
    observe: Observer = call_unobserved

    def provider(self, address: Address) -> AnyProvider:
        """Return the provider of a tool.

        Raises PluginError if its plugin is unknown, which is possible only for a recorded tool: the
        loader refuses unknown plugins in the configuration.
        """
        try:
            return self.providers[address.name]
        except (KeyError, PluginError) as error:
            # The plugin exists but cannot be loaded. Its own error has the cause.
            if address.name in self.providers:
                raise
            message = (
                error.message
                if isinstance(error, PluginError)
                else f'unknown plugin "{address.name}"'
            )
            forget = f"dtm state rm {address.dotted}"
            raise PluginError(
                message,
                hint=f"run {forget} to make dtm forget the tool; its resource is not deleted",
                where=str(address),
            ) from None

    def options_struct(self, address: Address) -> type[msgspec.Struct]:
        """Return the Struct that describes a tool's options."""
        found: type[msgspec.Struct] = self.provider(address).options
        return found

    def build(self, address: Address, options: Attributes) -> Any:
        """Build the options Struct for a provider. Values that are not known yet are UNKNOWN.

        Raises ConfigError if the options break a rule of the Struct.
        """
        return build(options, self.options_struct(address))

    def decode_options(self, address: Address, options: Attributes) -> Attributes:
        """Convert options to their declared types, after their references were resolved.

        Raises DtmError that names every fault.
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
        """Replace the references in a tool's options by outputs, or by UNKNOWN.

        Raises DtmError if an output does not exist or an option has the wrong type.
        """
        # Options without references were converted by the loader.
        if not find_leaves(spec.options, Deferred):
            return self.learn_secrets(spec.options)
        options = {key: resolve(value, lookup) for key, value in spec.options.items()}
        if find_leaves(options, Digest):
            raise DtmError(
                "needs a secret output of another tool, but the state stores only its digest",
                hint="run again without --no-refresh, so that dtm reads the other tool",
            )
        return self.learn_secrets(self.decode_options(spec.address, options))

    def identity(self, address: Address, options: Attributes) -> str | None | Unknown:
        """Return the identity; None if there is none, UNKNOWN if it needs an unknown option."""
        try:
            return self.provider(address).identity(self.build(address, options))
        except UnknownValueError:
            return UNKNOWN

    def refuse_secret_identity(self, address: Address, options: Attributes) -> None:
        """Raise DtmError if the identity contains a secret: identities are stored in plain text.

        An identity that is not known yet is not checked.
        """
        secrets = find_leaves(options, Secret)
        identity = self.identity(address, options) if secrets else None
        if (
            identity is None
            or isinstance(identity, Unknown)
            or not contains_secret(identity, secrets)
        ):
            return
        # A short secret may occur in the identity by chance. The plugin is asked again without the
        # secrets: only if it uses one for the identity, the answer is UNKNOWN.
        without = {key: map_leaves(value, _hide_secret) for key, value in options.items()}
        if isinstance(self.identity(address, without), Unknown):
            names = (name for source in collect_sources(secrets) for name in secret_sources(source))
            came = " and ".join(dict.fromkeys(names))
            raise DtmError(
                "has a secret in its name, and the state stores names in plain text",
                hint=f"do not use {came or 'secrets'} in paths, URLs and names",
                where=str(address),
            )

    def predict(
        self, address: Address, options: Attributes, resource: Resource | None
    ) -> Attributes | Unknown:
        """Predict the outputs; UNKNOWN if the plugin neither declares nor predicts any.

        A declared output that the plugin does not predict is UNKNOWN.
        """
        provider = self.provider(address)
        declared: type[msgspec.Struct] | None = provider.outputs
        found: dict[str, Value] = (
            {option.key: UNKNOWN for option in describe_options(declared)} if declared else {}
        )
        built = self.build(address, options)
        # A prediction that needs an unknown option fails: the declared outputs stay UNKNOWN.
        with suppress(UnknownValueError):
            found.update(provider.predict(built, resource))
        if not found:
            return UNKNOWN
        return self.redactor.mark_map(mark_matches(found, find_leaves(options, Secret)))

    def outputs(
        self, address: Address, options: Attributes, live: Resource, sealer: Sealer
    ) -> Attributes:
        """Return the outputs of an unchanged tool, for references.

        If only the digest of a secret output is known, its value is taken from a prediction with
        the same digest.
        """
        # The usual case: no output is secret.
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
        """Wrap each secret in a resource that a provider reported into a Secret.

        These are secrets: outputs that the plugin declares secret, values that contain a secret
        option or another known secret, and values at paths where `before` has a secret.
        """
        declared: type[msgspec.Struct] | None = self.provider(address).outputs
        outputs: Attributes = resource.outputs
        for path in secret_paths(declared) if declared else ():
            source = f"output {address.dotted}.outputs.{'.'.join(path)}"
            outputs = {
                key: mark_path(value, path[1:], source) if key == path[0] else value
                for key, value in outputs.items()
            }
        # Learned before the attributes are marked: one of them may contain the same secret.
        self.learn_secrets(outputs)
        secrets = find_leaves(options, Secret)
        if outputs is not resource.outputs or secrets:
            attributes = mark_matches(resource.attributes, secrets)
            resource = replace(
                resource, attributes=attributes, outputs=mark_matches(outputs, secrets)
            )
        resource = self.redactor.mark_resource(resource)
        return inherit_sensitivity(resource, before) if before else resource

    def learn_secrets(self, options: Attributes) -> Attributes:
        """Return the same options. From now on, their secrets are redacted in all texts."""
        for secret in find_leaves(options, Secret):
            self.redactor.add(secret)
        return options

    def read(
        self, address: Address, options: Attributes, resource: Resource | None, call: Call
    ) -> Resource | None:
        """Read the live resource; None if it is gone.

        Every exception of the provider becomes a DtmError.
        """
        provider = self.provider(address)
        built = self.build(address, options)
        known = None if resource and self._has_hidden_id(address, options, resource) else resource

        def reading() -> Resource | None:
            found = self.observe(address, "read", lambda: provider.read(built, known, call))
            return found and self.mark_secrets(address, options, found, resource)

        try:
            return call_plugin(provider.plugin, "read", reading)
        except UnknownValueError as error:
            refuse_lost_secrets(address, options, "read")
            raise DtmError(
                "cannot be read: one of its options is known only after apply", where=str(address)
            ) from error

    def _has_hidden_id(self, address: Address, options: Attributes, resource: Resource) -> bool:
        """Check whether the recorded ID has a redacted secret, so that only the identity is usable.

        Raises DtmError if there is no identity either.
        """
        if HIDDEN not in resource.id:
            return False
        if self.identity(address, options) is None:
            raise DtmError(
                f"{address} cannot be looked up: its ID contains a secret, "
                "and the state does not store secrets",
                hint=f"delete the resource yourself, then run dtm state rm {address.dotted}",
                where=str(address),
            )
        return True

    def derived_attributes(self, address: Address) -> Collection[str]:
        """Name the attributes that depend only on the tool's inputs."""
        provider = self.provider(address)
        if not _implements(type(provider), HasDerivedAttributes):
            return ()
        assert isinstance(provider, HasDerivedAttributes)
        return provider.derived_attributes()

    def missing_requirements(self, address: Address, options: Attributes) -> list[str]:
        """Describe the programs, variables and credentials that the provider needs but cannot find.

        Raises DtmError if a needed option contains a lost secret.
        """
        provider = self.provider(address)
        if not _implements(type(provider), HasRequirements):
            return []
        assert isinstance(provider, HasRequirements)
        try:
            return list(provider.missing_requirements(self.build(address, options)))
        except UnknownValueError:
            refuse_lost_secrets(address, options, "delete")
            return []

    def missing_inputs(self, address: Address, options: Attributes) -> list[str]:
        """Describe each path in the options that does not exist."""
        provider = self.provider(address)
        if not _implements(type(provider), HasInputFiles):
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
            f"{option}: {place} does not exist"
            for option, place in places.items()
            if not os.path.exists(place)  # noqa: PTH110 - raises nothing
        ]


@cache
def _implements(provider: type, protocol: type) -> bool:
    """Check whether a class implements an optional protocol. Cached: `issubclass` is slow here."""
    return issubclass(provider, protocol)


def call_plugin(plugin: str, method: str, call: Callable[[], T]) -> T:
    """Call a plugin; any exception but DtmError and UnknownValueError becomes PluginError."""
    try:
        return call()
    # An unknown value is not a fault of the plugin. Each caller handles it.
    except (DtmError, UnknownValueError):
        raise
    except Exception as error:  # A plugin may raise any exception; it must not end the run.
        raise PluginError(
            f'plugin "{plugin}" failed in {method}: {type(error).__name__}: {error}'
        ) from error


def _hide_secret(leaf: Value) -> Value:
    return UNKNOWN if isinstance(leaf, Secret) else leaf
