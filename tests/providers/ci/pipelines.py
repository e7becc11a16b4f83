"""Options that both CI plugins have, each with a change that its file must show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tests.providers._git.repos import options

Given: TypeAlias = dict[str, Any]
Shown: TypeAlias = dict[str, tuple[Given, Given, str]]
"""By option: what is asked for before, what is changed, and what the file then says."""

FILES = Path(__file__).parents[3] / "fixtures" / "ci"
SCM = {"scmType": "local", "owner": "me", "name": "app"}
GO = {"language": {"name": "go"}}
IMAGE = {"user": "me"}
SONAR = {"name": "key"}
TALK = {"webhook": "https://oapi.dingtalk.com/robot/send?access_token=abcdef"}


def files(provider: Any, given: Given) -> dict[str, str]:
    """Make the files that the plugin writes."""
    chosen: Any = options(provider, **given)
    written = provider.build_source(chosen, provider.locate(chosen).name).load_files(FILES)
    return {path: content.decode() for path, content in written.items()}


def new(**pipeline: Any) -> Given:
    """Give options for a Go repository with that pipeline."""
    return {"scm": SCM, "pipeline": {**GO, **pipeline}}


def scm(given: Given, **change: str) -> Given:
    """Change the repository in given options."""
    return {**given, "scm": {**SCM, **change}}


CHANGED: dict[str, tuple[Given, Given]] = {
    "scm.name": (new(imageRepo=IMAGE), scm(new(imageRepo=IMAGE), name="web")),
    "scm.branch": (new(), scm(new(), branch="trunk")),
    "pipeline.branch": (new(), new(branch="release")),
    "pipeline.language.name": (new(), new(language={"name": "python"})),
    "pipeline.language.version": (new(), new(language={"name": "go", "version": "1.22"})),
    "pipeline.test.enable": (new(test={"enable": False}, imageRepo=IMAGE), new(imageRepo=IMAGE)),
    "pipeline.test.command": (new(), new(test={"command": ["go vet", "make check"]})),
    "pipeline.test.containerName": (new(), new(test={"containerName": "golang:1.21-alpine"})),
    "pipeline.test.coverageCommand": (new(), new(test={"coverageCommand": "make cover"})),
    "pipeline.test.coverageStatusCommand": (
        new(),
        new(test={"coverageStatusCommand": "cat c.txt"}),
    ),
    "pipeline.test.coverage.enable": (
        new(test={"coverage": {"enable": False}}),
        new(test={"coverage": {"enable": True}}),
    ),
    "pipeline.test.coverage.profile": (
        new(test={"coverage": {}}),
        new(test={"coverage": {"profile": "-covermode=set"}}),
    ),
    "pipeline.test.coverage.output": (
        new(test={"coverage": {}}),
        new(test={"coverage": {"output": "c.out"}}),
    ),
    "pipeline.imageRepo": (new(), new(imageRepo=IMAGE)),
    "pipeline.imageRepo.url": (
        new(imageRepo=IMAGE),
        new(imageRepo={**IMAGE, "url": "https://harbor.example.com:8443/library"}),
    ),
    "pipeline.imageRepo.user": (new(imageRepo=IMAGE), new(imageRepo={"user": "you"})),
    "pipeline.imageRepo.password": (
        new(imageRepo=IMAGE),
        new(imageRepo={**IMAGE, "password": "hush"}),
    ),
    "pipeline.sonarqube": (new(), new(sonarqube=SONAR)),
    "pipeline.sonarqube.name": (new(sonarqube=SONAR), new(sonarqube={"name": "other"})),
    "pipeline.sonarqube.url": (
        new(sonarqube=SONAR),
        new(sonarqube={**SONAR, "url": "https://s.io"}),
    ),
    "pipeline.sonarqube.token": (new(sonarqube=SONAR), new(sonarqube={**SONAR, "token": "hush"})),
    "pipeline.dingTalk": (new(), new(dingTalk=TALK)),
    "pipeline.dingTalk.name": (new(dingTalk=TALK), new(dingTalk={**TALK, "name": "Robot"})),
    "pipeline.dingTalk.webhook": (
        new(dingTalk=TALK),
        new(dingTalk={"webhook": "https://proxy.example.com/ding"}),
    ),
    "pipeline.dingTalk.securityType": (
        new(dingTalk={**TALK, "securityType": "SECRET", "securityValue": "k"}),
        new(dingTalk={**TALK, "securityType": "KEY", "securityValue": "k"}),
    ),
    "pipeline.dingTalk.securityValue": (
        new(dingTalk=TALK),
        new(dingTalk={**TALK, "securityType": "KEY", "securityValue": "k"}),
    ),
    "pipeline.dingTalk.atUsers": (
        new(dingTalk=TALK),
        new(dingTalk={**TALK, "atUsers": ["138", "139"]}),
    ),
}

HUSH = new(
    imageRepo={"user": "me", "password": "hush-1"},
    sonarqube={**SONAR, "token": "hush-2"},
    dingTalk={
        "webhook": "https://x.io/?access_token=hush-3",
        "securityType": "KEY",
        "securityValue": "hush-4",
    },
)
"""Every secret that there is."""
SECRETS = [
    "DINGTALK_SECURITY_TOKEN",
    "DINGTALK_SECURITY_VALUE",
    "IMAGE_REPO_SECRET",
    "SONAR_SECRET_TOKEN",
]


def shown(said: Mapping[str, str], own: Shown) -> Shown:
    """Every option with what one plugin's file says of it: none that both have is left out."""
    assert said.keys() == CHANGED.keys()
    return {**{name: (*change, said[name]) for name, change in CHANGED.items()}, **own}
