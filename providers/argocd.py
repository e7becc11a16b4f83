"""The `argocdapp` provider, which keeps the manifest of an Argo CD Application in a repository."""

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
    "# Written by dtm. Change the options of the tool instead of this file: "
    "the next `dtm apply` undoes edits.\n"
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
"""Attribute -> its path in the manifest.

The names in `app`, `src` and `dest` are those of DevStream, so that its states can be compared.
"""


class Application(Options, frozen=True, kw_only=True):
    """The Argo CD Application."""

    name: Annotated[
        str,
        Field(
            "Name of the Application.",
            example="app",
            replace=True,
            pattern=DNS_LABEL,
            max_length=63,
        ),
    ]
    namespace: Annotated[
        str, Field("Namespace in which Argo CD runs.", replace=True, pattern=DNS_LABEL)
    ] = "argocd"


class Target(Options, frozen=True, kw_only=True):
    """The cluster and the namespace to which Argo CD deploys."""

    server: Annotated[str, Field("URL of the cluster's API server.", min_length=1)] = (
        "https://kubernetes.default.svc"
    )
    namespace: Annotated[str, Field("Namespace in that cluster.", pattern=DNS_LABEL)] = "default"


class AppSource(Options, frozen=True, kw_only=True):
    """The Helm chart to deploy, and the git repository that holds it."""

    valuefile: Annotated[
        str, Field("Path of the values file, relative to the chart.", min_length=1)
    ] = "values.yaml"
    path: Annotated[
        str,
        Field(
            "Directory of the chart in the repository. The default is helm/<app.name>.",
            example="helm/app",
        ),
    ] = ""
    repo_url: Annotated[
        str,
        Field(
            "URL or local path of the repository. The manifest is written to it too.",
            example="./repos/me/app.git",
            min_length=1,
        ),
    ] = msgspec.field(name="repoURL")
    repo_branch: Annotated[
        str,
        Field(
            "Branch of the chart and of the manifest. By default Argo CD follows HEAD, and the "
            "manifest is written to main (master on GitLab)."
        ),
    ] = ""
    token: Token = ""


class ImageVersion(Options, frozen=True, kw_only=True):
    """The image to deploy. The chart gets it as `image.repository` and `image.tag`."""

    url: Annotated[str, Field("URL of the registry. The default is Docker Hub.")] = DOCKER_HUB
    user: Annotated[
        str,
        Field(
            "Account at the registry. The image name begins with it.", example="me", min_length=1
        ),
    ]
    inital_tag: Annotated[
        str, Field("Tag of the first image to deploy.", aliases=("initialTag",), min_length=1)
    ] = "0.0.1"


class ArgoCDAppOptions(Options, frozen=True, kw_only=True):
    """The Application, its chart and its destination."""

    app: Annotated[Application, Field("The Argo CD Application.")]
    source: Annotated[AppSource, Field("The Helm chart to deploy.")]
    destination: Annotated[
        Target, Field("The cluster and the namespace to which Argo CD deploys.")
    ] = Target()
    image_repo: Annotated[
        ImageVersion | None, Field("The image to deploy. The default is the one in the chart.")
    ] = None
    path: Annotated[
        str, Field("Path of the manifest in the repository. The default is argocd/<app.name>.yaml.")
    ] = ""

    def __post_init__(self) -> None:
        with suppress(UnknownValueError):
            locate_manifest(self)


class ArgoCDAppOutputs(Outputs, frozen=True, kw_only=True):
    """The outputs of `argocdapp`."""

    repo_url: Annotated[str, Field("URL or path of the repository, without credentials.")] = (
        msgspec.field(name="repoURL")
    )
    branch: Annotated[str, Field("Branch that holds the manifest.")]
    path: Annotated[str, Field("Path of the manifest in the repository.")]
    name: Annotated[str, Field("Name of the Application.")]
    namespace: Annotated[str, Field("Namespace of the Application.")]


def locate_manifest(options: ArgoCDAppOptions) -> Location:
    """Return repository and branch of the manifest. Raises ValueError, UnknownValueError."""
    source = options.source
    if any(isinstance(value, Unknown) for value in (source.repo_url, source.repo_branch)):
        raise UnknownValueError("source.repoURL or source.repoBranch is only known after apply")
    return locate(Repo(url=source.repo_url, branch=source.repo_branch, token=source.token))


def get_manifest_path(options: ArgoCDAppOptions) -> str:
    """Return the path of the manifest in the repository. Raises UnknownValueError."""
    return str(options.path) or f"argocd/{options.app.name}.yaml"


def build_manifest(options: ArgoCDAppOptions) -> dict[str, Any]:
    """Build the manifest as a map."""
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
            # With the finalizer, Argo CD removes the deployed resources when the Application goes.
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
    """Return the directory of the chart in the repository."""
    return options.source.path or f"helm/{options.app.name}"


def render_manifest(options: ArgoCDAppOptions) -> bytes:
    """Return the content of the manifest file."""
    text = yaml.safe_dump(build_manifest(options), sort_keys=False, allow_unicode=True, width=10**6)
    return (HEADER + text).encode()


def parse_manifest(data: bytes) -> dict[str, Value]:
    """Return the attributes of a manifest. Comments are ignored.

    The attribute `other` holds everything that is not in ATTRIBUTES. dtm never writes such a key,
    so one that was added is drift.
    """
    try:
        document = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError):
        return {"other": "not valid YAML"}
    # Attributes must be JSON values, and YAML has more types, such as dates. These become text.
    left = cast("Value", json.loads(json.dumps(document, default=str)))
    found: dict[str, Value] = {}
    for attribute, path in ATTRIBUTES.items():
        value, left = _split_off(left, path)
        if value is not None:
            name, _, key = attribute.partition(".")
            within = found.setdefault(name, {}) if key else found
            assert isinstance(within, dict)  # no name in ATTRIBUTES is used with and without a dot
            within[key or name] = value
    return {**found, "other": left}


def _split_off(value: Value, path: tuple[str, ...]) -> tuple[Value, Value]:
    """Return the value at a path (None: absent), and the whole without it.

    A map that is empty after the removal is removed as well.
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
    """The manifest of an Argo CD Application, kept as a file in a git repository.

    dtm writes the file only. Argo CD deploys the application after the manifest is applied to the
    cluster: by an app of apps, or with `kubectl apply`. Each change is one commit. Any edit of the
    manifest, except of its comments, is drift. Deleting removes the file with a commit.
    """

    plugin = "argocdapp"
    options = ArgoCDAppOptions
    outputs: type[msgspec.Struct] | None = ArgoCDAppOutputs

    def identity(self, options: ArgoCDAppOptions) -> str | None:
        """Use repository, branch and path of the manifest."""
        location = locate_manifest(options)
        return f"{location.identity}@{location.branch}:{get_manifest_path(options)}"

    def predict(self, options: ArgoCDAppOptions, resource: Resource | None) -> Mapping[str, Value]:
        """Predict all outputs."""
        return _build_outputs(options)

    def missing_requirements(self, options: ArgoCDAppOptions) -> Sequence[str]:
        """Report a missing git program."""
        return check_git_installed()

    def input_paths(self, options: ArgoCDAppOptions) -> Mapping[str, str]:
        """Return the repository if it is a path: it must exist before the first change of a run."""
        return list_local_inputs("source.repoURL", locate_manifest(options))

    def read(
        self, options: ArgoCDAppOptions, resource: Resource | None, call: Call
    ) -> Resource | None:
        """Read the manifest at the recorded repository and path."""
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
        """Commit the manifest. Raises ProviderError if the file exists with other content."""
        return self._write_files(options, [], call)

    def update(self, options: ArgoCDAppOptions, resource: Resource, call: Call) -> Resource:
        """Commit the changes. If repository or path changed, move the manifest."""
        path, old = (
            _recorded_path(options, resource),
            open_former_repository(locate_manifest(options), resource, call),
        )
        # Write first, then remove: after a failure at least one repository has the manifest.
        updated = self._write_files(options, [] if old else [path], call)
        if old:
            remove_files(old, [path], f"argocd: move {options.app.name} to another repository")
        return updated

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
                f"{repository.location} has no {chart} yet. "
                f"Argo CD cannot deploy {options.app.name} until it exists."
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
