"""Lost secrets: the error where a call needs a secret of which only the digest is left."""

from __future__ import annotations

from collections.abc import Iterable

from engine.address import Address
from engine.errors import DtmError
from engine.language.references import TEXT_SOURCE, VARIABLE_PREFIX, secret_sources
from engine.values import Attributes, Digest, collect_sources, find_leaves


def refuse_lost_secrets(address: Address, options: Attributes, verb: str) -> None:
    """Raise DtmError that names every lost secret in the options, if there is one.

    `verb` says what the secrets are needed for: `read`, `delete`.
    """
    lost = [key for key, value in options.items() if find_leaves(value, Digest)]
    if not lost:
        return
    sources = collect_sources(find_leaves(options, Digest))
    needed = f"to {verb} {address.dotted} I need option {' and '.join(lost)}"
    came = " and ".join(source.removeprefix(TEXT_SOURCE) for source in sources)
    raise DtmError(
        f"{needed}, which came from {came}" if came else needed,
        hint=f"{_again(sources)}, as it was when the tool was made",
        where=str(address),
    )


def _again(sources: Iterable[str]) -> str:
    """Say how to give the secrets once more."""
    names = [origin.partition(" ") for source in sources for origin in secret_sources(source)]
    given = [
        VARIABLE_PREFIX + name.partition(".")[0] if kind == "var" else name
        for kind, _, name in names
        if kind in ("env", "var")
    ]
    return f"export {'=... '.join(dict.fromkeys(given))}=..." if given else "set it again"
