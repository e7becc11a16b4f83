"""The expansion of apps to tools."""

from pathlib import Path

import pytest

from engine.address import Address
from engine.config import Config
from engine.language.references import Reference
from engine.loading.apps import merge_maps
from engine.loading.loader import ConfigSource, load
from engine.values import Secret, Value
from tests.engine.loading.catalog import FakeCatalog

APP = "apps:\n- name: web\n  repo: {owner: me, scmType: github}\n"


def loaded(tmp_path: Path, text: str) -> Config:
    (tmp_path / "config.yaml").write_text(text)
    return load(
        ConfigSource(tmp_path / "config.yaml", cwd=tmp_path, env={"T": "s3cret"}), FakeCatalog()
    )


def edges(config: Config) -> dict[str, list[str]]:
    return {str(tool.address): [str(other) for other in tool.depends_on] for tool in config.tools}


def options(config: Config, name: str) -> Value:
    return dict(next(tool.options for tool in config.tools if str(tool.address) == name))


def test_app_without_steps_and_template_has_no_tools(tmp_path: Path) -> None:
    assert loaded(tmp_path, APP).tools == ()


def test_delivery_depends_on_builds_and_all_on_repository(tmp_path: Path) -> None:
    text = (
        APP
        + "  repoTemplate: {url: x}\n  ci: [{type: gitlab-ci}, {type: github-actions}]\n"
        + "  cd: [{type: argocdapp}]\n"
    )
    assert edges(loaded(tmp_path, text + "tools: [{name: data, instanceID: a}]\n")) == {
        "data/a": [],
        "gitlab-ci/web": ["repo-scaffolding/web", "data/a"],
        "github-actions/web": ["repo-scaffolding/web", "data/a"],
        "argocdapp/web": ["repo-scaffolding/web", "data/a", "gitlab-ci/web", "github-actions/web"],
        "repo-scaffolding/web": ["data/a"],
    }


def test_builds_of_one_plugin_get_numbered_instances(tmp_path: Path) -> None:
    text = APP + "  ci: [{type: gitlab-ci}, {type: gitlab-ci}, {type: gitlab-ci}]\n"
    assert list(edges(loaded(tmp_path, text))) == [
        "gitlab-ci/web",
        "gitlab-ci/web-2",
        "gitlab-ci/web-3",
    ]


def test_pipeline_gets_language_and_repository(tmp_path: Path) -> None:
    text = (
        "apps:\n- name: web\n  spec: {language: go, framework: gin}\n"
        "  repo: {owner: me, token: '[[ env T ]]'}\n"
        "  ci: [{type: jenkins-pipeline, options: {jenkins: {url: u}, language: {name: golang}, "
        "test: {enable: false}}}]\n"
    )
    assert options(loaded(tmp_path, text), "jenkins-pipeline/web") == {
        "pipeline": {"language": {"name": "golang", "framework": "gin"}, "test": {"enable": False}},
        "scm": {"name": "web", "owner": "me", "token": Secret("s3cret", ("env T",))},
        "jenkins": {"url": "u"},
    }


TEMPLATE = (
    "vars: {branch: global, image: global}\n"
    "pipelineTemplates:\n- name: ci\n  type: github-actions\n"
    "  options:\n    branch: '[[ branch ]]'\n"
    "    docker: {image: '[[ image ]]', tags: [a, b], tag: 1.10}\n"
    "    language: {version: '[[ language ]]'}\n"
)


def test_template_variables_step_then_global_then_app(tmp_path: Path) -> None:
    text = TEMPLATE + (
        "apps:\n- name: web\n  spec: {language: go}\n  repo: {owner: me}\n"
        "  ci: [{type: template, templateName: ci, vars: {image: '[[ branch ]]-own'}, "
        "options: {docker: {tags: [c]}}}]\n"
    )
    assert options(loaded(tmp_path, text), "github-actions/web") == {
        "pipeline": {
            "language": {"name": "go", "version": "go"},
            "branch": "global",
            "docker": {"image": "global-own", "tags": ["c"], "tag": 1.1},
        },
        "scm": {"name": "web", "owner": "me"},
    }


def test_references_in_templates_are_kept(tmp_path: Path) -> None:
    text = (
        "tools: [{name: data, instanceID: a}]\n"
        "pipelineTemplates:\n"
        "- {name: ci, type: gitlab-ci, options: {branch: '${{ data.a.outputs.output }}'}}\n"
        "apps: [{name: web, repo: {owner: me}, ci: [{type: template, templateName: ci}]}]\n"
    )
    found = options(loaded(tmp_path, text), "gitlab-ci/web")
    assert isinstance(found, dict)
    assert found["pipeline"] == {
        "branch": Reference(Address("data", "a"), ("output",), "${{ data.a.outputs.output }}")
    }


@pytest.mark.parametrize(
    ("repo", "url"),
    [
        ("{owner: me}", "https://github.com/me/web.git"),
        ("{org: us, scmType: gitlab, name: other}", "https://gitlab.com/us/other.git"),
        ("{owner: me, baseURL: 'http://git.local'}", "http://git.local/me/web.git"),
        ("{url: github.com/me/web}", "https://github.com/me/web"),
        ("{url: 'git@github.com:me/web.git'}", "git@github.com:me/web.git"),
        ("{url: /srv/git/web.git}", "/srv/git/web.git"),
        ("{name: web}", None),
    ],
)
def test_repository_url_of_a_delivery(tmp_path: Path, repo: str, url: str | None) -> None:
    cd = "[{type: argocdapp, options: {app: {namespace: ns}}}]"
    text = f"apps: [{{name: web, repo: {repo}, cd: {cd}}}]\n"
    source = {"valuefile": "values.yaml", "path": "helm/web", **({"repoURL": url} if url else {})}
    assert options(loaded(tmp_path, text), "argocdapp/web") == {
        "app": {"name": "web", "namespace": "ns"},
        "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"},
        "source": source,
    }


def test_delivery_uses_the_image_of_the_build(tmp_path: Path) -> None:
    text = (
        APP
        + "  ci: [{type: gitlab-ci, options: {imageRepo: {user: me}}}]\n  cd: [{type: argocdapp}]\n"
    )
    found = options(loaded(tmp_path, text), "argocdapp/web")
    assert isinstance(found, dict)
    assert found["imageRepo"] == {"user": "me"}


def test_template_variables_reach_the_scaffolding(tmp_path: Path) -> None:
    text = APP + "  repoTemplate: {url: x, vars: {a: 1}}\n"
    assert options(loaded(tmp_path, text), "repo-scaffolding/web") == {
        "destinationRepo": {"name": "web", "owner": "me", "scmType": "github"},
        "sourceRepo": {"url": "x"},
        "vars": {"a": 1},
    }


def test_maps_are_merged_by_key_and_lists_are_replaced() -> None:
    assert merge_maps(
        {"a": {"b": 1, "c": [1]}, "d": 1}, {"a": {"c": [2], "e": 3}, "d": {"x": 1}}
    ) == {
        "a": {"b": 1, "c": [2], "e": 3},
        "d": {"x": 1},
    }
