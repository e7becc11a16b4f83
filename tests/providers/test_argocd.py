"""argocdapp: one manifest in a repository, every part of it compared."""

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
from tests.providers._git.repos import call, faults, listed, log, make, options, push, show

PATH = "argocd/app.yaml"
SOURCE = {"repoURL": "./repos/me/app.git"}


def given(**changed: Any) -> dict[str, Any]:
    return {"app": {"name": "app"}, "source": SOURCE, **changed}


def chosen(**changed: Any) -> Any:
    return options(ArgoCDApp(), **given(**changed))


def manifest(directory: Path, **changed: Any) -> Any:
    """Read the manifest that is written for these options."""
    wanted = chosen(**changed)
    made = ArgoCDApp().create(wanted, call(directory, "argocdapp"))
    return yaml.safe_load(
        show(directory / "repos/me/app.git", str(made.outputs["path"]), str(made.outputs["branch"]))
    )


def test_the_defaults_are_devstream_s(tmp_path: Path) -> None:
    make(tmp_path)
    assert manifest(tmp_path) == {
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


SHOWN: dict[str, tuple[dict[str, Any], tuple[str | int, ...], Any]] = {
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


@pytest.mark.parametrize(("changed", "at", "value"), SHOWN.values(), ids=SHOWN)
def test_an_option_shows_in_the_manifest(
    changed: dict[str, Any], at: tuple[str | int, ...], value: Any, tmp_path: Path
) -> None:
    make(tmp_path)
    found = manifest(tmp_path, **changed)
    for step in at:
        found = found[step]
    assert found == value


@pytest.mark.parametrize(("place", "drift"), MANIFEST_DRIFTS.items(), ids=MANIFEST_DRIFTS)
def test_a_drift_shows_in_its_attribute_alone(
    place: str, drift: tuple[str, Any], tmp_path: Path
) -> None:
    attribute, value = drift
    bare, provider = make(tmp_path), ArgoCDApp()
    made = provider.create(chosen(), call(tmp_path))
    edit_manifest(bare, place, value)
    live = provider.read(chosen(), made, call(tmp_path))
    assert live is not None
    assert [
        key
        for key in {*made.attributes, *live.attributes}
        if made.attributes.get(key) != live.attributes.get(key)
    ] == [attribute]


def test_a_comment_is_no_drift(tmp_path: Path) -> None:
    bare, provider = make(tmp_path), ArgoCDApp()
    made = provider.create(chosen(), call(tmp_path))
    push(bare, {PATH: "# mine\n" + show(bare, PATH)})
    assert provider.read(chosen(), made, call(tmp_path)) == made


@pytest.mark.parametrize("text", ["a: [", "- a\n", "", "just text\n"])
def test_what_is_no_manifest_any_more_is_drift_not_an_error(text: str, tmp_path: Path) -> None:
    bare, provider = make(tmp_path), ArgoCDApp()
    made = provider.create(chosen(), call(tmp_path))
    push(bare, {PATH: text})
    live = provider.read(chosen(), made, call(tmp_path))
    assert live is not None and live.attributes != made.attributes
    assert provider.update(chosen(), live, call(tmp_path)) == made


def test_the_manifest_goes_where_path_says_and_moves_with_it(tmp_path: Path) -> None:
    bare, provider = make(tmp_path), ArgoCDApp()
    made = provider.create(chosen(), call(tmp_path))
    moved = provider.update(chosen(path="deploy/cd.yaml"), made, call(tmp_path))
    assert listed(bare) == {"README.md", "deploy/cd.yaml"}
    assert provider.read(chosen(path="deploy/cd.yaml"), moved, call(tmp_path)) == moved


def test_it_moves_to_another_repository(tmp_path: Path) -> None:
    old, new, provider = make(tmp_path), make(tmp_path, "repos/me/ops.git"), ArgoCDApp()
    made = provider.create(chosen(), call(tmp_path))
    elsewhere = chosen(source={"repoURL": "./repos/me/ops.git"})
    live = provider.read(elsewhere, made, call(tmp_path))
    assert live is not None
    provider.update(elsewhere, live, call(tmp_path))
    assert (listed(old), listed(new)) == ({"README.md"}, {"README.md", PATH})


def test_commits_carry_the_marks_of_the_operation(tmp_path: Path) -> None:
    bare, provider = make(tmp_path), ArgoCDApp()
    made = provider.create(chosen(), call(tmp_path, "argocdapp"))
    provider.delete(chosen(), made, call(tmp_path, "argocdapp"))
    subjects = [message.splitlines()[0] for message in log(bare)]
    assert subjects == ["argocd: remove app", "argocd: write app", "by hand"]
    assert "Dtm-Address: argocdapp/a" in log(bare)[0]
    assert listed(bare) == {"README.md"}


def test_a_chart_that_is_not_there_yet_is_told(tmp_path: Path) -> None:
    bare, told = make(tmp_path), list[str]()
    calling = replace(call(tmp_path), report=lambda text, _fraction=None: told.append(text))
    made = ArgoCDApp().create(chosen(), calling)
    assert len(told) == 1 and "no helm/app/Chart.yaml yet" in told[0]
    push(bare, {"helm/app/Chart.yaml": "name: app\n"})
    ArgoCDApp().update(chosen(), made, calling)
    assert len(told) == 1


def test_credentials_reach_neither_manifest_nor_record() -> None:
    wanted = chosen(
        source={"repoURL": "https://ann:hush@git.example.com/me/app.git", "token": "hush-too"}
    )
    assert b"hush" not in render_manifest(wanted)
    assert "hush" not in repr(ArgoCDApp().predict(wanted, None))


def test_identity_is_repository_branch_and_file() -> None:
    spelled = [
        chosen(source={"repoURL": url, "repoBranch": "main"})
        for url in ("git@github.com:Me/App.git", "https://github.com/me/app", "github.com/me/app")
    ]
    assert {ArgoCDApp().identity(wanted) for wanted in spelled} == {
        f"github.com/me/app@main:{PATH}"
    }


def test_what_hangs_on_an_unknown_repository_is_unknown() -> None:
    with pytest.raises(UnknownValueError):
        ArgoCDApp().identity(chosen(source={"repoURL": UNKNOWN}))
    with pytest.raises(UnknownValueError):
        ArgoCDApp().identity(chosen(app={"name": UNKNOWN}))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"app": {}}, "name"),
    "bad name": ({"app": {"name": "My_App"}}, "must match"),
    "no repository": ({"source": {}}, "repoURL"),
    "bad repository": ({"source": {"repoURL": "just words"}}, "transport not support"),
    "image without user": ({"imageRepo": {}}, "user"),
}


@pytest.mark.parametrize(("changed", "said"), REFUSED.values(), ids=REFUSED)
def test_nonsense_is_refused_before_anything_runs(changed: dict[str, Any], said: str) -> None:
    assert said in faults(ArgoCDApp(), **given(**changed))


def test_a_record_by_devstream_is_compared_where_the_options_say(tmp_path: Path) -> None:
    make(tmp_path)
    made = ArgoCDApp().create(chosen(), call(tmp_path))
    record = Resource("app", {"app": {"name": "app", "namespace": "argocd"}})
    assert ArgoCDApp().read(chosen(), record, call(tmp_path)) == made


def test_somebody_else_s_manifest_is_refused(tmp_path: Path) -> None:
    bare = make(tmp_path)
    push(bare, {PATH: "kind: Application\n"})
    with pytest.raises(ProviderError, match="not created by dtm"):
        ArgoCDApp().create(chosen(), call(tmp_path))


def test_an_app_deploys_the_image_that_its_pipeline_pushes_without_knowing_the_password(
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
