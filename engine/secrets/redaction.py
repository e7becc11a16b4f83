"""Redaction: known secrets replaced by `(sensitive)` in texts, and found again in values."""

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
"""Characters a secret must have to be redacted.

A shorter one occurs in innocent texts, and its gaps there would tell what it is.
"""


class Redactor:
    """Replaces known secrets in texts. Safe to use from several threads.

    It knows what was added, so add a secret before anything can print it.

        redactor.add(Secret("hunter22", ("env PASSWORD",)))
        redactor.redact("login as me:hunter22")  # login as me:(sensitive)
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, ...]] = {}
        self._pattern: re.Pattern[str] | None = None
        self._lock = Lock()

    def add(self, value: Value) -> None:
        """Learn every text of six characters or more inside this value.

        It is recognised as it is, and as JSON, URLs and base64 spell it. Of a text around secrets
        only these are learned, unless one of them is too short.
        """
        found = {form: sources for text, sources in _texts(value, ()) for form in _forms(text)}
        with self._lock:
            if found.keys() <= self._known.keys():
                return
            # A new dict before a new pattern: readers take no lock, and `mark` looks up in
            # `_known` what the pattern found.
            self._known = found | self._known
            # The first alternative that fits wins: a short secret must not split a longer one and
            # leave the rest of it readable.
            longest_first = sorted(self._known, key=lambda text: (-len(text), text))
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def redact(self, text: str) -> str:
        """Replace every known secret in a text by `(sensitive)`."""
        # Read once, since another thread may replace it.
        pattern = self._pattern
        return pattern.sub(HIDDEN, text) if pattern else text

    def mark(self, value: Value) -> Value:
        """Put a Secret around every text or number that holds a known secret.

        A key cannot be a Secret: it is cleaned.
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
        # A number counts only as a whole: equal digits inside a larger one are chance.
        if not held or not (isinstance(value, str) or str(value) in held):
            return value
        return Secret(
            value, tuple(dict.fromkeys(source for text in held for source in self._known[text]))
        )

    def mark_map(self, values: Attributes) -> Attributes:
        """Conceal a whole map of attributes or outputs."""
        if self._pattern is None:
            return values
        return {self.redact(key): self.mark(value) for key, value in values.items()}

    def mark_resource(self, resource: Resource) -> Resource:
        """Conceal the attributes and outputs of a resource."""
        if self._pattern is None:
            return resource
        return Resource(
            resource.id, self.mark_map(resource.attributes), self.mark_map(resource.outputs)
        )


def _texts(value: Value, sources: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the texts to learn of a secret, each with where it came from."""
    for leaf in iter_leaves(value):
        if isinstance(leaf, Secret):
            for part in leaf.parts:
                yield from _texts(part, ())
            if not leaf.parts or any(
                len(str(part.value)) < MIN_REDACTED_LENGTH for part in leaf.parts
            ):
                yield from _texts(leaf.value, leaf.sources)
        elif isinstance(leaf, str | int | float) and not isinstance(leaf, bool):
            yield str(leaf), sources


def _forms(text: str) -> Iterator[str]:
    """Yield the spellings of a text; a secret of several lines also line by line."""
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
    """Replace these secrets in a text; those that are too short for it stay."""
    redactor = Redactor()
    for secret in secrets:
        redactor.add(secret)
    return redactor.redact(text)


def contains_secret(text: str, secrets: list[Secret]) -> bool:
    """Check whether a secret, however short, stands in the text in any spelling."""
    return redact(text, secrets) != text or any(str(secret.value) in text for secret in secrets)
