"""Trials of the plugins that write into git repositories.

The folder of a trial contains bare repositories, which the trial changes as another user would.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from dtm.testing.provider import MakeTrial, Trial, trial_call
from dtm.trials.repositories import make, push, show
from providers._image import ImageRepo
from providers.argocd import Application, AppSource, ArgoCDAppOptions, ImageVersion, Target
from providers.ci.generic import CI, GenericOptions
from providers.ci.github import GitHubOptions, GitHubPipeline
from providers.ci.gitlab import GitLabOptions
from providers.ci.options import Pipeline, Scm, UnitTests
from providers.scaffolding.options import (
    DestinationRepo,
    GithubOptions,
    GitlabOptions,
    GolangOptions,
    ScaffoldOptions,
)

RENDERED: Final = frozenset({"rendered"})
"""The attribute with the content of built-in CI files: only another release of dtm changes it."""

SCM: Final = Scm(scm_type="local", owner="me", name="app")
TESTS: Final = UnitTests(command="make test", container_name="alpine:3")
"""Options of the tests that are complete without the option `language`."""


def repo_scaffolding(directory: Path) -> Trial:
    """Return the trial of a repository from a built-in template."""
    bare = directory / "repos" / "app.git"

    def options(template: str, image: str, **place: Any) -> ScaffoldOptions:
        destination = DestinationRepo(url="./repos/app.git", owner="me", **place)
        return ScaffoldOptions(
            destination_repo=destination, source_repo=template, vars={"imageRepo": image}
        )

    return Trial(
        options=options("python-flask", "me/app", visibility="private"),
        call=trial_call("repo-scaffolding", directory),
        changes=[
            options("python-flask", "you/app", visibility="private"),
            options("golang-cli", "you/app", visibility="public"),
            options("golang-cli", "you/app", branch="trunk"),
        ],
        drifts={
            "files": lambda: push(bare, {"README.md": "by hand\n"}),
            "visibility": lambda: bare.chmod(0o755),
        },
        delete_outside=lambda: shutil.rmtree(bare),
        create_outside=lambda: make(directory, "repos/app.git"),
    )


def _golang(plugin: str, options: type[GolangOptions]) -> MakeTrial:
    def trial(directory: Path) -> Trial:
        bare = directory / "repos" / "me" / "app.git"
        return Trial(
            options=options(scm_type="local", owner="me", name="app", image_repo="me/app"),
            call=trial_call(plugin, directory),
            changes=[options(scm_type="local", owner="me", name="app", image_repo="you/app")],
            drifts={"files": lambda: push(bare, {"README.md": None})},
            delete_outside=lambda: shutil.rmtree(bare),
            create_outside=lambda: make(directory),
        )

    return trial


def _built_in(plugin: str, path: str, options: type[Any], pipeline: type[Pipeline]) -> MakeTrial:
    """Return the function for the trial of a plugin that writes one generated file."""

    def trial(directory: Path) -> Trial:
        bare, image = make(directory), ImageRepo(user="me")
        return Trial(
            options=options(scm=SCM, pipeline=pipeline(test=TESTS)),
            call=trial_call(plugin, directory),
            changes=[options(scm=SCM, pipeline=pipeline(test=TESTS, image_repo=image))],
            drifts={"files": lambda: push(bare, {path: "edited: by hand\n"})},
            cannot_drift=RENDERED,
            delete_outside=lambda: push(bare, {path: None}),
            create_outside=lambda: push(bare, {path: "another: user\n"}),
        )

    return trial


def ci_generic(directory: Path) -> Trial:
    """Return the trial of several workflows from a directory of the user."""
    bare, source = make(directory), directory / "ci"
    source.mkdir()
    for name in ("a.yml", "b.yaml"):
        (source / name).write_text("on: push\n", "utf-8")

    def options(**given: Any) -> GenericOptions:
        return GenericOptions(scm=SCM, ci=CI(type="github", **given))

    return Trial(
        options=options(config_location="ci"),
        call=trial_call("ci-generic", directory),
        changes=[
            options(config_contents={"c.yml": f"on: {event}\n"}) for event in ("push", "release")
        ],
        drifts={
            "files": lambda: push(bare, {".github/workflows/b.yaml": None}),
            "rendered": lambda: (source / "a.yml").write_text("on: release\n", "utf-8"),
        },
        delete_outside=lambda: push(
            bare, {".github/workflows/a.yml": None, ".github/workflows/b.yaml": None}
        ),
        create_outside=lambda: push(bare, {".github/workflows/a.yml": "on: [issues]\n"}),
    )


MANIFEST: Final = "argocd/app.yaml"

MANIFEST_DRIFTS: Final[Mapping[str, tuple[str, Any]]] = {
    "metadata.name": ("app", "x"),
    "metadata.namespace": ("app", "x"),
    "metadata.finalizers": ("finalizers", []),
    "metadata.labels": ("other", {"a": "b"}),
    "spec.project": ("project", "x"),
    "spec.source.repoURL": ("src", "x"),
    "spec.source.targetRevision": ("src", "x"),
    "spec.source.path": ("src", "x"),
    "spec.source.helm.valueFiles": ("src", ["x"]),
    "spec.source.helm.parameters": ("src", [{"name": "a", "value": "b"}]),
    "spec.destination.server": ("dest", "x"),
    "spec.destination.namespace": ("dest", "x"),
    "spec.syncPolicy.automated.prune": ("syncPolicy", False),
    "spec.since": ("other", date(2026, 1, 2)),
    "apiVersion": ("apiVersion", "argoproj.io/v2"),
    "kind": ("kind", "ApplicationSet"),
}
"""Field of an Application's manifest -> the attribute that shows its change, and a new value."""


def edit_manifest(bare: Path, place: str, value: Any) -> None:
    """Commit a manifest with one changed field, whose path is `place`."""
    document = yaml.safe_load(show(bare, MANIFEST))
    *way, last = place.split(".")
    inside = document
    for step in way:
        inside = inside.setdefault(step, {})
    inside[last] = value
    push(bare, {MANIFEST: yaml.safe_dump(document)})


def argocdapp(directory: Path) -> Trial:
    """Return the trial of an Application's manifest."""
    bare = make(directory)

    def options(branch: str = "", **given: Any) -> ArgoCDAppOptions:
        source = AppSource(repo_url="./repos/me/app.git", repo_branch=branch)
        return ArgoCDAppOptions(app=Application(name="app"), source=source, **given)

    return Trial(
        options=options(),
        call=trial_call("argocdapp", directory),
        changes=[
            options(destination=Target(namespace="prod"), image_repo=ImageVersion(user="me")),
            options("main", destination=Target(server="https://k")),
        ],
        drifts={
            name: partial(edit_manifest, bare, place, value)
            for place, (name, value) in MANIFEST_DRIFTS.items()
        },
        delete_outside=lambda: push(bare, {MANIFEST: None}),
        create_outside=lambda: push(bare, {MANIFEST: "kind: Application\n"}),
    )


GIT_TRIALS: Final[Mapping[str, MakeTrial]] = {
    "argocdapp": argocdapp,
    "ci-generic": ci_generic,
    "github-repo-scaffolding-golang": _golang("github-repo-scaffolding-golang", GithubOptions),
    "gitlab-repo-scaffolding-golang": _golang("gitlab-repo-scaffolding-golang", GitlabOptions),
    "repo-scaffolding": repo_scaffolding,
    **{
        name: _built_in(name, ".github/workflows/main.yml", GitHubOptions, GitHubPipeline)
        for name in (
            "github-actions",
            "githubactions-golang",
            "githubactions-nodejs",
            "githubactions-python",
        )
    },
    **{
        name: _built_in(name, ".gitlab-ci.yml", GitLabOptions, Pipeline)
        for name in ("gitlab-ci", "gitlabci-generic", "gitlabci-golang", "gitlabci-java")
    },
}
"""Plugin name -> function that prepares its trial."""
