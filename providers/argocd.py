"""The `argocdapp` provider: keeps the manifest of an Argo CD Application in its repository."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Final, cast

import msgspec
import yaml

from engine.ports import Call, Provider
from engine.schema import Field, Options, Outputs
from engine.state import Resource
from engine.values import Unknown, UnknownValueError, Value
from providers._git.managed_files import (
    build_repo_outputs,
    check_git_installed,
    list_local_inputs,
    open_former_repository,
    open_recorded_repository,
    open_repository,
    remove_files,
    write_files,
)
from providers._git.scm import Location, Repo, Token, locate
from providers._git.urls import strip_credentials
from providers._image import DOCKER_HUB, build_image_name

DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
FINALIZER: Final = "resources-finalizer.argocd.argoproj.io"
HEADER: Final = (
    "# Written by dtm: change the tool's options instead, "
    "what is edited here is undone by the next `dtm apply`.\n"
)

ATTRIBUTES: Final[Mapping[str, tuple[str, ...]]] = {
    "app.name": ("metadata", "name"),
    "app.namespace": ("metadata", "namespace"),
    "src.repoURL": ("spec", "source", "repoURL"),
    "src.targetRevision": ("spec", "source", "targetRevision"),
    "src.path": ("spec", "source", "path"),
    "src.valueFiles": ("spec", "source", "helm", "valueFiles"),
    "src.parameters": ("spec", "source", "helm", "parameters"),
    "dest.server": ("spec", "destination", "server"),
    "dest.namespace": ("spec", "destination", "namespace"),
    "project": ("spec", "project"),
    "syncPolicy": ("spec", "syncPolicy"),
    "finalizers": ("metadata", "finalizers"),
    "apiVersion": ("apiVersion",),
    "kind": ("kind",),
}
"""Attribute -> its path in the manifest; the names of the first three groups are DevStream's."""


class Application(Options, frozen=True, kw_only=True):
    """The Application resource."""

    name: Annotated[
        str, Field("its name", example="app", replace=True, pattern=DNS_LABEL, max_length=63)
    ]
    namespace: Annotated[
        str, Field("the namespace that Argo CD runs in", replace=True, pattern=DNS_LABEL)
    ] = "argocd"


class Target(Options, frozen=True, kw_only=True):
    """The cluster and namespace that it is deployed to."""

    server: Annotated[str, Field("the cluster's API server", min_length=1)] = (
        "https://kubernetes.default.svc"
    )
    namespace: Annotated[str, Field("the namespace", pattern=DNS_LABEL)] = "default"


class AppSource(Options, frozen=True, kw_only=True):
    """The Helm chart to deploy, in a git repository."""

    valuefile: Annotated[
        str, Field("the chart's values file, relative to the chart", min_length=1)
    ] = "values.yaml"
    path: Annotated[
        str, Field("the chart's directory; helm/<app.name> if not given", example="helm/app")
    ] = ""
    repo_url: Annotated[
        str,
        Field(
            "the repository: any URL that git can reach, or a path",
            example="./repos/me/app.git",
            min_length=1,
        ),
    ] = msgspec.field(name="repoURL")
    repo_branch: Annotated[
        str, Field("the branch; its HEAD, for the manifest main, if not given")
    ] = ""
    token: Token = ""


class ImageVersion(Options, frozen=True, kw_only=True):
    """The image that is deployed: given to the chart as image.repository and image.tag."""

    url: Annotated[str, Field("the registry; Docker Hub unless given")] = DOCKER_HUB
    user: Annotated[
        str,
        Field(
            "the account, which is the first part of the image's name", example="me", min_length=1
        ),
    ]
    inital_tag: Annotated[
        str, Field("the first version", aliases=("initialTag",), min_length=1)
    ] = "0.0.1"


class ArgoCDAppOptions(Options, frozen=True, kw_only=True):
    """The Application, its chart and the place to deploy it to."""

    app: Annotated[Application, Field("the Application resource")]
    source: Annotated[AppSource, Field("what is deployed")]
    destination: Annotated[Target, Field("where it is deployed to")] = Target()
    image_repo: Annotated[
        ImageVersion | None, Field("the image to deploy, instead of the chart's own")
    ] = None
    path: Annotated[
        str, Field("where the manifest goes in the repository; argocd/<app.name>.yaml if not given")
    ] = ""

    def __post_init__(self) -> None:
        with suppress(UnknownValueError):
            locate_manifest(self)


class ArgoCDAppOutputs(Outputs, frozen=True, kw_only=True):
    """The outputs that references may name."""

    repo_url: Annotated[str, Field("the repository, without credentials")] = msgspec.field(
        name="repoURL"
    )
    branch: Annotated[str, Field("the branch that the manifest is in")]
    path: Annotated[str, Field("the manifest's path in it")]
    name: Annotated[str, Field("the Application's name")]
    namespace: Annotated[str, Field("its namespace")]


def locate_manifest(options: ArgoCDAppOptions) -> Location:
    """Find the branch that the manifest goes into. Raises ValueError, UnknownValueError."""
    source = options.source
    if any(isinstance(value, Unknown) for value in (source.repo_url, source.repo_branch)):
        raise UnknownValueError("the repository is only known after apply")
    return locate(Repo(url=source.repo_url, branch=source.repo_branch, token=source.token))


def get_manifest_path(options: ArgoCDAppOptions) -> str:
    """Name the manifest's path in the repository. Raises UnknownValueError."""
    return str(options.path) or f"argocd/{options.app.name}.yaml"


def build_manifest(options: ArgoCDAppOptions) -> dict[str, Any]:
    """Make the Application resource."""
    source, image = options.source, options.image_repo
    helm: dict[str, Any] = {"valueFiles": [source.valuefile]}
    if image:
        values = {
            "image.repository": build_image_name(image.url, image.user, options.app.name),
            "image.tag": image.inital_tag,
        }
        helm["parameters"] = [{"name": name, "value": value} for name, value in values.items()]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": options.app.name,
            "namespace": options.app.namespace,
            "finalizers": [FINALIZER],
        },
        "spec": {
            "project": "default",
            "source": {
                "repoURL": strip_credentials(locate_manifest(options).url),
                "targetRevision": source.repo_branch or "HEAD",
                "path": get_chart_path(options),
                "helm": helm,
            },
            "destination": {
                "server": options.destination.server,
                "namespace": options.destination.namespace,
            },
            "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
        },
    }


def get_chart_path(options: ArgoCDAppOptions) -> str:
    """Name the chart's directory."""
    return options.source.path or f"helm/{options.app.name}"


def render_manifest(options: ArgoCDAppOptions) -> bytes:
    """Write the manifest's file."""
    text = yaml.safe_dump(build_manifest(options), sort_keys=False, allow_unicode=True, width=10**6)
    return (HEADER + text).encode()


def parse_manifest(data: bytes) -> dict[str, Value]:
    """Read a manifest, by attribute; `other` holds all that dtm would not have written.

    Comments do not count.
    """
    try:
        document = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError):
        return {"other": "no YAML"}
    # Through JSON, so that dates and the like become text.
    left = cast("Value", json.loads(json.dumps(document, default=str)))
    found: dict[str, Value] = {}
    for attribute, path in ATTRIBUTES.items():
        value, left = _split_off(left, path)
        if value is not None:
            name, _, key = attribute.partition(".")
            within = found.setdefault(name, {}) if key else found
            assert isinstance(within, dict)  # no name stands both alone and before a dot
            within[key or name] = value
    return {**found, "other": left}


def _split_off(value: Value, path: tuple[str, ...]) -> tuple[Value, Value]:
    """Split a value: the part at a path (None: nothing), and the rest without it.

    The rest loses the maps that this leaves empty.
    """
    if not path:
        return value, None
    if not isinstance(value, dict) or path[0] not in value:
        return None, value
    taken, rest = _split_off(value[path[0]], path[1:])
    kept = {key: item for key, item in value.items() if key != path[0]}
    if rest is not None and rest != {}:
        kept = {**value, path[0]: rest}
    return taken, kept


class ArgoCDApp:
    """The manifest of an Argo CD Application in its repository, one commit for each change.

    Argo CD deploys it where an app of apps, or `kubectl apply`, brings it in. Drift is found in
    each thing that the manifest says. Deleting removes the file.
    """

    plugin = "argocdapp"
    options = ArgoCDAppOptions
    outputs: type[msgspec.Struct] | None = ArgoCDAppOutputs

    def identity(self, options: ArgoCDAppOptions) -> str | None:
        """Name the manifest by repository, branch and path."""
        location = locate_manifest(options)
        return f"{location.identity}@{location.branch}:{get_manifest_path(options)}"

    def predict(self, options: ArgoCDAppOptions, resource: Resource | None) -> Mapping[str, Value]:
        """Predict all outputs."""
        return _build_outputs(options)

    def requires(self, options: ArgoCDAppOptions) -> Sequence[str]:
        """Demand the git binary."""
        return check_git_installed()

    def inputs(self, options: ArgoCDAppOptions) -> Mapping[str, str]:
        """Name the repository, where it is on this machine."""
        return list_local_inputs("source.repoURL", locate_manifest(options))

    def read(
        self, options: ArgoCDAppOptions, resource: Resource | None, call: Call
    ) -> Resource | None:
        """Report what the manifest says, at the recorded place."""
        path = _recorded_path(options, resource)
        found = open_recorded_repository(locate_manifest(options), resource, call).read([path])
        if not found:
            return None
        outputs = (
            dict(resource.outputs)
            if resource and "repoURL" in resource.outputs
            else _build_outputs(options)
        )
        return Resource(_resource_id(options), parse_manifest(found[path]), outputs)

    def create(self, options: ArgoCDAppOptions, call: Call) -> Resource:
        """Commit the manifest; refuse a file that dtm did not write."""
        return self._write_files(options, [], call)

    def update(self, options: ArgoCDAppOptions, resource: Resource, call: Call) -> Resource:
        """Commit what differs; move a manifest that is to stand elsewhere."""
        path, old = (
            _recorded_path(options, resource),
            open_former_repository(locate_manifest(options), resource, call),
        )
        made = self._write_files(options, [] if old else [path], call)
        if old:
            remove_files(old, [path], f"argocd: move {options.app.name} to another repository")
        return made

    def delete(self, options: ArgoCDAppOptions, resource: Resource, call: Call) -> None:
        """Commit the removal of the manifest."""
        path, old = (
            _recorded_path(options, resource),
            open_recorded_repository(locate_manifest(options), resource, call),
        )
        remove_files(old, [path], f"argocd: remove {options.app.name}")

    def _write_files(self, options: ArgoCDAppOptions, owned: Sequence[str], call: Call) -> Resource:
        repository, data = open_repository(locate_manifest(options), call), render_manifest(options)
        write_files(
            repository,
            {get_manifest_path(options): data},
            owned,
            f"argocd: write {options.app.name}",
        )
        tip, chart = repository.read_tip(), f"{get_chart_path(options)}/Chart.yaml"
        if tip and chart not in tip.entries:
            call.report(
                f"{repository.location} has no {chart} yet: "
                f"Argo CD cannot deploy {options.app.name} before it has"
            )
        return Resource(_resource_id(options), parse_manifest(data), _build_outputs(options))


def _resource_id(options: ArgoCDAppOptions) -> str:
    return f"{options.app.namespace}/{options.app.name}"


def _build_outputs(options: ArgoCDAppOptions) -> dict[str, Value]:
    return {
        **build_repo_outputs(locate_manifest(options)),
        "path": get_manifest_path(options),
        "name": options.app.name,
        "namespace": options.app.namespace,
    }


def _recorded_path(options: ArgoCDAppOptions, resource: Resource | None) -> str:
    return (
        str(resource.outputs["path"])
        if resource and "path" in resource.outputs
        else get_manifest_path(options)
    )


_conforms: type[Provider[ArgoCDAppOptions]] = ArgoCDApp
