"""Options that both CI plugins have, each with a change that must appear in the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tests.providers._git.repos import options

Options: TypeAlias = dict[str, Any]
OptionTable: TypeAlias = dict[str, tuple[Options, Options, str]]
"""Option -> options before, options after, and the text that then appears in the file."""

FILES = Path(__file__).parents[3] / "fixtures" / "ci"
SCM = {"scmType": "local", "owner": "me", "name": "app"}
GO = {"language": {"name": "go"}}
IMAGE = {"user": "me"}
SONAR = {"name": "key"}
TALK = {"webhook": "https://oapi.dingtalk.com/robot/send?access_token=abcdef"}


def render_files(provider: Any, given: Options) -> dict[str, str]:
    """Return the files that the plugin writes."""
    chosen: Any = options(provider, **given)
    written = provider.build_source(chosen, provider.locate(chosen).name).load_files(FILES)
    return {path: content.decode() for path, content in written.items()}


def in_pipeline(**pipeline: Any) -> Options:
    """Return options for a Go repository with these options of `pipeline`."""
    return {"scm": SCM, "pipeline": {**GO, **pipeline}}


def with_scm(given: Options, **change: str) -> Options:
    """Return the options with another repository."""
    return {**given, "scm": {**SCM, **change}}


CHANGED: dict[str, tuple[Options, Options]] = {
    "scm.name": (in_pipeline(imageRepo=IMAGE), with_scm(in_pipeline(imageRepo=IMAGE), name="web")),
    "scm.branch": (in_pipeline(), with_scm(in_pipeline(), branch="trunk")),
    "pipeline.branch": (in_pipeline(), in_pipeline(branch="release")),
    "pipeline.language.name": (in_pipeline(), in_pipeline(language={"name": "python"})),
    "pipeline.language.version": (
        in_pipeline(),
        in_pipeline(language={"name": "go", "version": "1.22"}),
    ),
    "pipeline.test.enable": (
        in_pipeline(test={"enable": False}, imageRepo=IMAGE),
        in_pipeline(imageRepo=IMAGE),
    ),
    "pipeline.test.command": (
        in_pipeline(),
        in_pipeline(test={"command": ["go vet", "make check"]}),
    ),
    "pipeline.test.containerName": (
        in_pipeline(),
        in_pipeline(test={"containerName": "golang:1.21-alpine"}),
    ),
    "pipeline.test.coverageCommand": (
        in_pipeline(),
        in_pipeline(test={"coverageCommand": "make cover"}),
    ),
    "pipeline.test.coverageStatusCommand": (
        in_pipeline(),
        in_pipeline(test={"coverageStatusCommand": "cat c.txt"}),
    ),
    "pipeline.test.coverage.enable": (
        in_pipeline(test={"coverage": {"enable": False}}),
        in_pipeline(test={"coverage": {"enable": True}}),
    ),
    "pipeline.test.coverage.profile": (
        in_pipeline(test={"coverage": {}}),
        in_pipeline(test={"coverage": {"profile": "-covermode=set"}}),
    ),
    "pipeline.test.coverage.output": (
        in_pipeline(test={"coverage": {}}),
        in_pipeline(test={"coverage": {"output": "c.out"}}),
    ),
    "pipeline.imageRepo": (in_pipeline(), in_pipeline(imageRepo=IMAGE)),
    "pipeline.imageRepo.url": (
        in_pipeline(imageRepo=IMAGE),
        in_pipeline(imageRepo={**IMAGE, "url": "https://harbor.example.com:8443/library"}),
    ),
    "pipeline.imageRepo.user": (
        in_pipeline(imageRepo=IMAGE),
        in_pipeline(imageRepo={"user": "you"}),
    ),
    "pipeline.imageRepo.password": (
        in_pipeline(imageRepo=IMAGE),
        in_pipeline(imageRepo={**IMAGE, "password": "hush"}),
    ),
    "pipeline.sonarqube": (in_pipeline(), in_pipeline(sonarqube=SONAR)),
    "pipeline.sonarqube.name": (
        in_pipeline(sonarqube=SONAR),
        in_pipeline(sonarqube={"name": "other"}),
    ),
    "pipeline.sonarqube.url": (
        in_pipeline(sonarqube=SONAR),
        in_pipeline(sonarqube={**SONAR, "url": "https://s.io"}),
    ),
    "pipeline.sonarqube.token": (
        in_pipeline(sonarqube=SONAR),
        in_pipeline(sonarqube={**SONAR, "token": "hush"}),
    ),
    "pipeline.dingTalk": (in_pipeline(), in_pipeline(dingTalk=TALK)),
    "pipeline.dingTalk.name": (
        in_pipeline(dingTalk=TALK),
        in_pipeline(dingTalk={**TALK, "name": "Robot"}),
    ),
    "pipeline.dingTalk.webhook": (
        in_pipeline(dingTalk=TALK),
        in_pipeline(dingTalk={"webhook": "https://proxy.example.com/ding"}),
    ),
    "pipeline.dingTalk.securityType": (
        in_pipeline(dingTalk={**TALK, "securityType": "SECRET", "securityValue": "k"}),
        in_pipeline(dingTalk={**TALK, "securityType": "KEY", "securityValue": "k"}),
    ),
    "pipeline.dingTalk.securityValue": (
        in_pipeline(dingTalk=TALK),
        in_pipeline(dingTalk={**TALK, "securityType": "KEY", "securityValue": "k"}),
    ),
    "pipeline.dingTalk.atUsers": (
        in_pipeline(dingTalk=TALK),
        in_pipeline(dingTalk={**TALK, "atUsers": ["138", "139"]}),
    ),
}

WITH_SECRETS = in_pipeline(
    imageRepo={"user": "me", "password": "hush-1"},
    sonarqube={**SONAR, "token": "hush-2"},
    dingTalk={
        "webhook": "https://x.io/?access_token=hush-3",
        "securityType": "KEY",
        "securityValue": "hush-4",
    },
)
"""Options with a value for every secret."""
SECRETS = [
    "DINGTALK_SECURITY_TOKEN",
    "DINGTALK_SECURITY_VALUE",
    "IMAGE_REPO_SECRET",
    "SONAR_SECRET_TOKEN",
]


def build_table(expected: Mapping[str, str], own: OptionTable) -> OptionTable:
    """Return the table of one plugin; fail if it misses an option that both plugins have."""
    assert expected.keys() == CHANGED.keys()
    return {**{name: (*change, expected[name]) for name, change in CHANGED.items()}, **own}
