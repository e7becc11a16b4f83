"""`argocdapp`: a manifest in a repository, every part of which is compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from dtm.plugins import installed
from dtm.trials.git import MANIFEST_DRIFTS, edit_manifest
from engine.errors import ProviderError
from engine.loading.loader import ConfigSource, load
from engine.state import Resource
from engine.values import UNKNOWN, UnknownValueError
from providers.argocd import ArgoCDApp, render_manifest
from tests.providers._git.repos import (
    call,
    faults,
    list_files,
    list_messages,
    make,
    options,
    push,
    show,
)

PATH = "argocd/app.yaml"
SOURCE = {"repoURL": "./repos/me/app.git"}


def raw_options(**changed: Any) -> dict[str, Any]:
    return {"app": {"name": "app"}, "source": SOURCE, **changed}


def decode_options(**changed: Any) -> Any:
    return options(ArgoCDApp(), **raw_options(**changed))


def create_manifest(directory: Path, **changed: Any) -> Any:
    """Return the manifest that is written for these options."""
    wanted = decode_options(**changed)
    made = ArgoCDApp().create(wanted, call(directory, "argocdapp"))
    return yaml.safe_load(
        show(directory / "repos/me/app.git", str(made.outputs["path"]), str(made.outputs["branch"]))
    )


def test_default_manifest_is_that_of_devstream(tmp_path: Path) -> None:
    make(tmp_path)
    assert create_manifest(tmp_path) == {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": "app",
            "namespace": "argocd",
            "finalizers": ["resources-finalizer.argocd.argoproj.io"],
        },
        "spec": {
            "project": "default",
            "source": {
                "repoURL": "./repos/me/app.git",
                "targetRevision": "HEAD",
                "path": "helm/app",
                "helm": {"valueFiles": ["values.yaml"]},
            },
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"},
            "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
        },
    }


OPTIONS: dict[str, tuple[dict[str, Any], tuple[str | int, ...], Any]] = {
    "app.name": ({"app": {"name": "web"}}, ("metadata", "name"), "web"),
    "app.namespace": ({"app": {"name": "app", "namespace": "cd"}}, ("metadata", "namespace"), "cd"),
    "destination.server": (
        {"destination": {"server": "https://k"}},
        ("spec", "destination", "server"),
        "https://k",
    ),
    "destination.namespace": (
        {"destination": {"namespace": "prod"}},
        ("spec", "destination", "namespace"),
        "prod",
    ),
    "source.valuefile": (
        {"source": {**SOURCE, "valuefile": "v.yaml"}},
        ("spec", "source", "helm", "valueFiles"),
        ["v.yaml"],
    ),
    "source.path": (
        {"source": {**SOURCE, "path": "deploy/x"}},
        ("spec", "source", "path"),
        "deploy/x",
    ),
    "source.repoURL": (
        {"source": {"repo_url": "./repos/../repos/me/app.git"}},
        ("spec", "source", "repoURL"),
        "./repos/../repos/me/app.git",
    ),
    "source.repoBranch": (
        {"source": {**SOURCE, "repoBranch": "main"}},
        ("spec", "source", "targetRevision"),
        "main",
    ),
    "imageRepo.user": (
        {"imageRepo": {"user": "me"}},
        ("spec", "source", "helm", "parameters", 0),
        {"name": "image.repository", "value": "me/app"},
    ),
    "imageRepo.url": (
        {"image_repo": {"user": "me", "url": "https://h.io/lib"}},
        ("spec", "source", "helm", "parameters", 0, "value"),
        "h.io/lib/me/app",
    ),
    "imageRepo.initalTag": (
        {"imageRepo": {"user": "me", "initalTag": "1.0"}},
        ("spec", "source", "helm", "parameters", 1),
        {"name": "image.tag", "value": "1.0"},
    ),
    "imageRepo.initialTag": (
        {"imageRepo": {"user": "me"}},
        ("spec", "source", "helm", "parameters", 1, "value"),
        "0.0.1",
    ),
}


@pytest.mark.parametrize(("changed", "at", "value"), OPTIONS.values(), ids=OPTIONS)
def test_every_option_changes_the_manifest(
    changed: dict[str, Any], at: tuple[str | int, ...], value: Any, tmp_path: Path
) -> None:
    make(tmp_path)
    found = create_manifest(tmp_path, **changed)
    for step in at:
        found = found[step]
    assert found == value


@pytest.mark.parametrize(("place", "drift"), MANIFEST_DRIFTS.items(), ids=MANIFEST_DRIFTS)
def test_drift_changes_only_its_attribute(
    place: str, drift: tuple[str, Any], tmp_path: Path
) -> None:
    attribute, value = drift
    bare, provider = make(tmp_path), ArgoCDApp()
    made = provider.create(decode_options(), call(tmp_path))
    edit_manifest(bare, place, value)
    live = provider.read(decode_options(), made, call(tmp_path))
    assert live is not None
    assert [
        key
        for key in {*made.attributes, *live.attributes}
        if made.attributes.get(key) != live.attributes.get(key)
    ] == [attribute]


def test_added_comment_is_not_drift(tmp_path: Path) -> None:
    bare, provider = make(tmp_path), ArgoCDApp()
    made = provider.create(decode_options(), call(tmp_path))
    push(bare, {PATH: "# mine\n" + show(bare, PATH)})
    assert provider.read(decode_options(), made, call(tmp_path)) == made


@pytest.mark.parametrize("text", ["a: [", "- a\n", "", "just text\n"])
def test_invalid_manifest_is_drift(text: str, tmp_path: Path) -> None:
    bare, provider = make(tmp_path), ArgoCDApp()
    made = provider.create(decode_options(), call(tmp_path))
    push(bare, {PATH: text})
    live = provider.read(decode_options(), made, call(tmp_path))
    assert live is not None and live.attributes != made.attributes
    assert provider.update(decode_options(), live, call(tmp_path)) == made


def test_manifest_moves_when_path_changes(tmp_path: Path) -> None:
    bare, provider = make(tmp_path), ArgoCDApp()
    made = provider.create(decode_options(), call(tmp_path))
    moved = provider.update(decode_options(path="deploy/cd.yaml"), made, call(tmp_path))
    assert list_files(bare) == {"README.md", "deploy/cd.yaml"}
    assert provider.read(decode_options(path="deploy/cd.yaml"), moved, call(tmp_path)) == moved


def test_manifest_moves_to_another_repository(tmp_path: Path) -> None:
    old, new, provider = make(tmp_path), make(tmp_path, "repos/me/ops.git"), ArgoCDApp()
    made = provider.create(decode_options(), call(tmp_path))
    elsewhere = decode_options(source={"repoURL": "./repos/me/ops.git"})
    live = provider.read(elsewhere, made, call(tmp_path))
    assert live is not None
    provider.update(elsewhere, live, call(tmp_path))
    assert (list_files(old), list_files(new)) == ({"README.md"}, {"README.md", PATH})


def test_commits_have_the_marks_of_the_operation(tmp_path: Path) -> None:
    bare, provider = make(tmp_path), ArgoCDApp()
    made = provider.create(decode_options(), call(tmp_path, "argocdapp"))
    provider.delete(decode_options(), made, call(tmp_path, "argocdapp"))
    subjects = [message.splitlines()[0] for message in list_messages(bare)]
    assert subjects == ["argocd: remove app", "argocd: write app", "by hand"]
    assert "Dtm-Address: argocdapp/a" in list_messages(bare)[0]
    assert list_files(bare) == {"README.md"}


def test_missing_chart_is_reported(tmp_path: Path) -> None:
    bare, reported = make(tmp_path), list[str]()
    calling = replace(call(tmp_path), report=lambda text, _fraction=None: reported.append(text))
    made = ArgoCDApp().create(decode_options(), calling)
    assert len(reported) == 1 and "no helm/app/Chart.yaml yet" in reported[0]
    push(bare, {"helm/app/Chart.yaml": "name: app\n"})
    ArgoCDApp().update(decode_options(), made, calling)
    assert len(reported) == 1


def test_credentials_are_not_in_manifest_or_record() -> None:
    wanted = decode_options(
        source={"repoURL": "https://ann:hush@git.example.com/me/app.git", "token": "hush-too"}
    )
    assert b"hush" not in render_manifest(wanted)
    assert "hush" not in repr(ArgoCDApp().predict(wanted, None))


def test_identity_is_repository_branch_and_path() -> None:
    spelled = [
        decode_options(source={"repoURL": url, "repoBranch": "main"})
        for url in ("git@github.com:Me/App.git", "https://github.com/me/app", "github.com/me/app")
    ]
    assert {ArgoCDApp().identity(wanted) for wanted in spelled} == {
        f"github.com/me/app@main:{PATH}"
    }


def test_identity_is_unknown_for_an_unknown_repository() -> None:
    with pytest.raises(UnknownValueError):
        ArgoCDApp().identity(decode_options(source={"repoURL": UNKNOWN}))
    with pytest.raises(UnknownValueError):
        ArgoCDApp().identity(decode_options(app={"name": UNKNOWN}))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"app": {}}, "name"),
    "bad name": ({"app": {"name": "My_App"}}, "must match"),
    "no repository": ({"source": {}}, "repoURL"),
    "bad repository": ({"source": {"repoURL": "just words"}}, "transport not support"),
    "image without user": ({"imageRepo": {}}, "user"),
}


@pytest.mark.parametrize(("changed", "expected"), REFUSED.values(), ids=REFUSED)
def test_invalid_options_are_refused(changed: dict[str, Any], expected: str) -> None:
    assert expected in faults(ArgoCDApp(), **raw_options(**changed))


def test_devstream_record_is_read_at_the_path_of_the_options(tmp_path: Path) -> None:
    make(tmp_path)
    made = ArgoCDApp().create(decode_options(), call(tmp_path))
    record = Resource("app", {"app": {"name": "app", "namespace": "argocd"}})
    assert ArgoCDApp().read(decode_options(), record, call(tmp_path)) == made


def test_existing_manifest_of_another_author_is_refused(tmp_path: Path) -> None:
    bare = make(tmp_path)
    push(bare, {PATH: "kind: Application\n"})
    with pytest.raises(ProviderError, match="not created by dtm"):
        ArgoCDApp().create(decode_options(), call(tmp_path))


def test_app_passes_image_but_no_password_to_argocd(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.yaml").write_text(
        "apps:\n- name: web\n  repo: {scmType: local, owner: me}\n"
        "  cd: [{type: argocdapp, options: {source: {repoURL: ./web.git}}}]\n"
        "  ci: [{type: github-actions, options: {language: {name: go}, "
        "imageRepo: {user: me, password: '[[ env PASS ]]'}}}]\n",
        "utf-8",
    )
    config = load(
        ConfigSource(tmp_path / "config.yaml", (), (), {"PASS": "hush"}, tmp_path), installed()
    )
    [deployed] = [tool.options for tool in config.tools if tool.address.name == "argocdapp"]
    assert deployed["imageRepo"] == {"user": "me"}
