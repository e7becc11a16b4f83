"""The names of providers and backends, and the objects behind them.

A name is looked up in the table of built-in names first, then among the entry points of other
packages.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from importlib import import_module
from typing import Final, cast

from backends.url import LATER_BACKENDS
from engine.errors import PluginError
from engine.ports import AnyProvider, Backend
from engine.schema import Catalog, PluginSchema

PROVIDER_GROUP: Final = "dtm.providers"
"""The group of the entry points of provider classes.

For example `my-plugin = "my_package:MyProvider"`.
"""

BUILT_IN: Final[Mapping[str, str]] = {
    "argocdapp": "providers.argocd:ArgoCDApp",
    "ci-generic": "providers.ci.generic:CIGeneric",
    "command": "providers.command:CommandProvider",
    "data": "providers.data:DataProvider",
    "directory": "providers.directory:DirectoryProvider",
    "file": "providers.file:FileProvider",
    "github-actions": "providers.ci.github:GitHubActions",
    "github-repo-scaffolding-golang": "providers.scaffolding.provider:github_golang",
    "githubactions-golang": "providers.ci.github:GitHubActionsGolang",
    "githubactions-nodejs": "providers.ci.github:GitHubActionsNodejs",
    "githubactions-python": "providers.ci.github:GitHubActionsPython",
    "gitlab-ci": "providers.ci.gitlab:GitLabCI",
    "gitlab-repo-scaffolding-golang": "providers.scaffolding.provider:gitlab_golang",
    "gitlabci-generic": "providers.ci.gitlab:GitLabCI",
    "gitlabci-golang": "providers.ci.gitlab:GitLabCIGolang",
    "gitlabci-java": "providers.ci.gitlab:GitLabCIJava",
    "repo-scaffolding": "providers.scaffolding.provider:repo_scaffolding",
}

BACKEND_GROUP: Final = "dtm.backends"
"""The group of the entry points of modules that implement `engine.ports.Backend`.

For example `my-store = "my_package.my_store"`.
"""

BACKENDS: Final[Mapping[str, str]] = {
    "local": "backends.local.store",
    "s3": "backends.aws.s3",
    "kubernetes": "backends.kubernetes.store",
    "k8s": "backends.kubernetes.store",
    "memory": "backends.memory",
}

DEVSTREAM_PLUGINS: Final = frozenset(
    {
        "argocd",
        "argocdapp",
        "artifactory",
        "ci-generic",
        "devlake",
        "devlake-config",
        "github-actions",
        "github-repo-scaffolding-golang",
        "githubactions-golang",
        "githubactions-nodejs",
        "githubactions-python",
        "gitlab-ce-docker",
        "gitlab-ci",
        "gitlab-repo-scaffolding-golang",
        "gitlabci-generic",
        "gitlabci-golang",
        "gitlabci-java",
        "harbor",
        "harbor-docker",
        "hashicorp-vault",
        "helm-generic",
        "helm-installer",
        "jenkins",
        "jenkins-github-integ",
        "jenkins-pipeline",
        "jenkins-pipeline-kubernetes",
        "jira",
        "jira-github-integ",
        "kube-prometheus",
        "openldap",
        "repo-scaffolding",
        "sonarqube",
        "tekton",
        "trello",
        "trello-github-integ",
        "zentao",
    }
)
"""The names of all plugins in all versions of DevStream."""

PROVIDER_MEMBERS: Final = (
    "plugin",
    "options",
    "outputs",
    "identity",
    "predict",
    "read",
    "create",
    "update",
    "delete",
)

Offer = tuple[str, str, str]
"""The name of a plugin or backend, its "module:Class", and the distribution that offers it."""


class _Registry:
    """Built-in names, and names that other packages offer.

    `offers` returns the latter. It is called at most once, and not to look up a built-in name.
    """

    kind: str
    built_in: Mapping[str, str]

    def __init__(self, offers: Callable[[], Sequence[Offer]]) -> None:
        self._offers = offers

    def _spec(self, name: str) -> str | None:
        return self.built_in.get(name) or self._third_party.get(name)

    @cached_property
    def _third_party(self) -> Mapping[str, str]:
        return _refuse_clashes(self.kind, self._offers(), self.built_in)


class Plugins(_Registry, Mapping[str, AnyProvider]):
    """All plugins of an installation: a catalog of their schemas, and a mapping by name.

    A plugin is imported when it is used first. Several threads may use the mapping.
    """

    kind, built_in = "plugin", BUILT_IN

    def __init__(self, offers: Callable[[], Sequence[Offer]]) -> None:
        super().__init__(offers)
        self._loaded: dict[str, AnyProvider] = {}

    def __getitem__(self, name: str) -> AnyProvider:
        """Load the provider behind a name.

        Raises PluginError if there is none, or if it cannot be loaded.
        """
        if name in self._loaded:
            return self._loaded[name]
        spec = self._spec(name)
        if spec is None and name in DEVSTREAM_PLUGINS:
            raise PluginError(
                f"plugin {name} is known from DevStream, but not part of this version"
            )
        if spec is None:
            raise PluginError(f"there is no plugin {name}", hint=self.hint(name))
        # Two threads may load at the same time. With setdefault both use the same provider.
        return self._loaded.setdefault(name, _load_provider(name, spec))

    def __contains__(self, name: object) -> bool:
        # The table comes first, because a scan of the installed packages is slow.
        return name in BUILT_IN or name in self._third_party

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def find(self, name: str) -> PluginSchema | None:
        """Return the options and outputs behind a name, None if there is none.

        Raises PluginError if it cannot be loaded.
        """
        if name not in self:
            return None
        provider = self[name]
        return PluginSchema(name, provider.plugin, provider.options, provider.outputs)

    def names(self) -> Sequence[str]:
        """Return every name, sorted, with aliases and the plugins of other packages."""
        return sorted({*BUILT_IN, *self._third_party})

    def hint(self, name: str) -> str:
        """Return the next step for an unknown name."""
        from engine.suggestions import find_similar

        meant = find_similar(name, self.names())
        return (
            f'check the spelling: "{meant}" is similar'
            if meant
            else "list all plugins with dtm list plugins"
        )

    def unshipped(self) -> Collection[str]:
        """Return DevStream's names that are not built in."""
        return DEVSTREAM_PLUGINS - BUILT_IN.keys()


class Backends(_Registry):
    """The backends that can hold a state: the options of each, and the module behind a name.

    A module is imported when it is used first.
    """

    kind, built_in = "state backend", BACKENDS

    def __getitem__(self, name: str) -> Backend:
        """Import the module behind a name.

        Raises PluginError if there is none, or if it cannot be loaded.
        """
        spec = self._spec(name)
        if spec is None:
            raise PluginError(_missing_backend(name), hint=f"use one of: {', '.join(self.names())}")
        return _load_backend(name, spec)

    def find(self, name: str) -> PluginSchema | None:
        """Return the options behind a name, None if there is none.

        Raises PluginError if it cannot be loaded.
        """
        if self._spec(name) is None:
            return None
        # k8s is the name of this backend in DevStream.
        return PluginSchema(name, "kubernetes" if name == "k8s" else name, self[name].OPTIONS)

    def names(self) -> Sequence[str]:
        """Return every name that a configuration may use. Built-in names come first."""
        return [*(name for name in BACKENDS if name != "memory"), *sorted(self._third_party)]

    def unshipped(self) -> Collection[str]:
        """Return the names that are reserved for a later version."""
        return LATER_BACKENDS - self._third_party.keys()


def _missing_backend(name: str) -> str:
    return (
        f"state backend {name} is not part of this version"
        if name in LATER_BACKENDS
        else f"there is no state backend {name}"
    )


def _refuse_clashes(
    kind: str, offers: Sequence[Offer], built_in: Mapping[str, str]
) -> Mapping[str, str]:
    """Return name -> "module:Class". Raises PluginError naming every clash."""
    owners: dict[str, list[str]] = {}
    for name, _, distribution in offers:
        owners.setdefault(name, ["dtm itself"] if name in built_in else []).append(distribution)
    clashes = [
        f"{kind} {name} is offered by {' and by '.join(by)}"
        for name, by in sorted(owners.items())
        if len(by) > 1
    ]
    if clashes:
        raise PluginError(
            "; ".join(clashes), hint=f"uninstall one of these packages, or rename its {kind}"
        )
    return {name: spec for name, spec, _ in offers}


@cache
def installed() -> Plugins:
    """Return the plugins of this installation."""
    return Plugins(lambda: _entry_points(PROVIDER_GROUP))


@cache
def backends() -> Backends:
    """Return the backends of this installation."""
    return Backends(lambda: _entry_points(BACKEND_GROUP))


def _entry_points(group: str) -> list[Offer]:
    from importlib.metadata import entry_points

    return [
        (point.name, point.value, point.dist.name if point.dist else "?")
        for point in entry_points(group=group)
    ]


def _load_provider(name: str, spec: str) -> AnyProvider:
    """Import and create a provider. Raises PluginError that names what is missing."""
    module, _, attribute = spec.partition(":")
    with _translating_errors(f"plugin {name}", spec):
        provider: object = getattr(import_module(module), attribute)()
    _require(provider, PROVIDER_MEMBERS, f"plugin {name} ({spec}) is not a provider")
    return cast("AnyProvider", provider)  # its members were checked above


def _load_backend(name: str, spec: str) -> Backend:
    """Import the module of a backend. Raises PluginError that names what is missing."""
    with _translating_errors(f"state backend {name}", spec):
        module: object = import_module(spec)
    _require(module, ("OPTIONS", "open_backend"), f"state backend {name} ({spec}) is not a backend")
    return cast("Backend", module)  # its members were checked above


@contextmanager
def _translating_errors(what: str, spec: str) -> Generator[None]:
    try:
        yield
    except Exception as error:  # a module of another package may raise anything on import
        raise PluginError(
            f"{what} cannot be loaded from {spec}: {type(error).__name__}: {error}"
        ) from error


def _require(found: object, members: Sequence[str], problem: str) -> None:
    if absent := [member for member in members if not hasattr(found, member)]:
        raise PluginError(f"{problem}: it has no {', '.join(absent)}")


_conforms: tuple[type[Catalog], ...] = (Plugins, Backends)
