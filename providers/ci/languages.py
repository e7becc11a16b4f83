"""The defaults of a pipeline for each language, and the language of each framework."""

from __future__ import annotations

import re

import msgspec


class Language(msgspec.Struct, frozen=True):
    """A language with the defaults of its pipelines.

    `image` has the language's tools inside; `{}` stands for the version. `prepare` goes before all
    commands.
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
"""Framework -> its language, and the version that suits its present releases.

This version goes before the language's default.
"""


def find_language(name: str, framework: str) -> tuple[str, str]:
    """Find the language's usual name and the framework's version of it, "" where none is given.

    Raises ValueError if they contradict each other.
    """
    named = name.strip().lower()
    named = OTHER_NAMES.get(named, named)
    implied, version = FRAMEWORKS.get(re.sub(r"[\s_-]", "", framework.lower()), ("", ""))
    if named and implied and named != implied:
        raise ValueError(
            f'language.framework "{framework}" is for {implied}, but language.name is "{name}"'
        )
    return implied or named, version
