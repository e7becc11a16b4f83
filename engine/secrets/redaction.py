"""Redaction: replace known secrets in texts by `(sensitive)`, and mark them in values."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from threading import Lock
from urllib.parse import quote

from engine.state import Resource
from engine.values import HIDDEN, Attributes, Secret, Value, iter_leaves

MIN_REDACTED_LENGTH = 6
"""The minimum length of a secret that is redacted.

A shorter one occurs in unrelated texts by chance, and each `(sensitive)` there would reveal it.
"""


class Redactor:
    """A set of known secrets that replaces them in texts. Safe to use from several threads.

    Add a secret before any text that contains it can be printed.

        redactor.add(Secret("hunter22", ("env PASSWORD",)))
        redactor.redact("login as me:hunter22")  # login as me:(sensitive)
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, ...]] = {}
        self._pattern: re.Pattern[str] | None = None
        self._lock = Lock()

    def add(self, value: Value) -> None:
        """Add every text in this value that has six or more characters.

        Each is recognized in plain form, and as it is written in JSON, URLs and base64. Of a text
        that contains secrets, only the secrets are added, unless one of them is too short: then the
        whole text is added too.
        """
        found = {
            form: sources
            for text, sources in _texts_to_redact(value, ())
            for form in _spellings(text)
        }
        with self._lock:
            if found.keys() <= self._known.keys():
                return
            # `_known` is set before the pattern, because readers take no lock, and `mark` looks up
            # each match of the pattern in `_known`.
            self._known = found | self._known
            # The first alternative that matches wins. A short secret must not match inside a longer
            # one and leave the rest of it readable.
            longest_first = sorted(self._known, key=lambda text: (-len(text), text))
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def redact(self, text: str) -> str:
        """Replace every known secret in a text by `(sensitive)`."""
        # Read once: another thread may replace it between the test and the use.
        pattern = self._pattern
        return pattern.sub(HIDDEN, text) if pattern else text

    def mark(self, value: Value) -> Value:
        """Wrap every text or number that contains a known secret into a Secret.

        A key of a map cannot be a Secret. It is redacted instead.
        """
        if self._pattern is None:
            return value
        if isinstance(value, dict):
            return {self.redact(key): self.mark(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.mark(item) for item in value]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return value
        held = dict.fromkeys(self._pattern.findall(str(value)))
        # A number must match as a whole: equal digits inside a larger number are a coincidence.
        if not held or not (isinstance(value, str) or str(value) in held):
            return value
        return Secret(
            value, tuple(dict.fromkeys(source for text in held for source in self._known[text]))
        )

    def mark_map(self, values: Attributes) -> Attributes:
        """Mark the known secrets in a map of attributes or outputs."""
        if self._pattern is None:
            return values
        return {self.redact(key): self.mark(value) for key, value in values.items()}

    def mark_resource(self, resource: Resource) -> Resource:
        """Mark the known secrets in the attributes and outputs of a resource."""
        if self._pattern is None:
            return resource
        return Resource(
            resource.id, self.mark_map(resource.attributes), self.mark_map(resource.outputs)
        )


def _texts_to_redact(
    value: Value, sources: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the texts to add for a value, each with the sources of its secret."""
    for leaf in iter_leaves(value):
        if isinstance(leaf, Secret):
            for part in leaf.parts:
                yield from _texts_to_redact(part, ())
            if not leaf.parts or any(
                len(str(part.value)) < MIN_REDACTED_LENGTH for part in leaf.parts
            ):
                yield from _texts_to_redact(leaf.value, leaf.sources)
        elif isinstance(leaf, str | int | float) and not isinstance(leaf, bool):
            yield str(leaf), sources


def _spellings(text: str) -> Iterator[str]:
    """Yield the spellings of a text, and of each of its lines."""
    parts = [text, text.strip(), *(line.strip() for line in text.splitlines())]
    spellings = [
        form for part in parts for form in (part, json.dumps(part)[1:-1], quote(part, safe=""))
    ]
    spellings.append(base64.b64encode(text.encode()).decode())
    yield from (
        form
        for form in spellings
        if len(form) >= MIN_REDACTED_LENGTH and len(text) >= MIN_REDACTED_LENGTH
    )


def redact(text: str, secrets: list[Secret]) -> str:
    """Replace these secrets in a text, except those that are too short."""
    redactor = Redactor()
    for secret in secrets:
        redactor.add(secret)
    return redactor.redact(text)


def contains_secret(text: str, secrets: list[Secret]) -> bool:
    """Check whether a text contains one of these secrets, including short ones."""
    return redact(text, secrets) != text or any(str(secret.value) in text for secret in secrets)
