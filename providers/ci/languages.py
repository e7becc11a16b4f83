"""The default commands and images for each language, and the language of each framework."""

from __future__ import annotations

import re

import msgspec


class Language(msgspec.Struct, frozen=True):
    """A language and the defaults for its pipelines.

    `image` is the container image with the tools of the language, with `{}` in place of the
    version. `prepare` is a command that runs before all others.
    """

    name: str
    version: str
    build: str
    test: tuple[str, ...]
    image: str
    prepare: str = ""


LANGUAGES = {
    language.name: language
    for language in (
        Language(
            "go",
            "1.17",
            "go build ./...",
            ("go test ./...",),
            "golang:{}",
            "test -f go.sum || go mod tidy",
        ),
        Language(
            "java",
            "8",
            "mvn -B package -DskipTests",
            ("mvn -B test",),
            "maven:3.9-eclipse-temurin-{}",
        ),
        Language(
            "nodejs",
            "18",
            "npm ci && npm run build --if-present",
            ("npm ci", "npm run build --if-present", "npm test"),
            "node:{}",
        ),
        Language(
            "python",
            "3.9",
            "python3 -m compileall -q .",
            (
                "python3 -m pip install --upgrade pip",
                "pip install -r requirements.txt",
                "python3 -m unittest",
            ),
            "python:{}",
        ),
    )
}

OTHER_NAMES = {"golang": "go", "node": "nodejs", "javascript": "nodejs"}

FRAMEWORKS = {
    "gin": ("go", "1.22"),
    "springboot": ("java", "17"),
    "django": ("python", "3.12"),
    "flask": ("python", "3.12"),
    "express": ("nodejs", "22"),
}
"""Framework -> its language, and the version of the language that its current releases need.

This version takes precedence over the default of the language, which is DevStream's.
"""


def find_language(name: str, framework: str) -> tuple[str, str]:
    """Return the usual name of the language and the version for the framework, "" if unknown.

    Raises ValueError if the framework belongs to another language than `name`.
    """
    named = name.strip().lower()
    named = OTHER_NAMES.get(named, named)
    implied, version = FRAMEWORKS.get(re.sub(r"[\s_-]", "", framework.lower()), ("", ""))
    if named and implied and named != implied:
        raise ValueError(
            f'language.framework "{framework}" is for {implied}, but language.name is "{name}": '
            "remove language.name"
        )
    return implied or named, version
