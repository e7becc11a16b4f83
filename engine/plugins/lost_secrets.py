"""Lost secrets: the error for a call that needs a secret whose value is no longer known."""

from __future__ import annotations

from collections.abc import Iterable

from engine.address import Address
from engine.errors import DtmError
from engine.language.references import VARIABLE_PREFIX, secret_sources
from engine.values import Attributes, Digest, collect_sources, find_leaves


def refuse_lost_secrets(
    address: Address, options: Attributes, verb: str, *, changed: bool = False
) -> None:
    """Raise DtmError that names every lost secret in the options; return if there is none.

    A secret is lost if only its digest is left. `verb` is the call that needs it: `read`, `delete`.
    `changed`: the sources of the secrets exist, but have other values now.
    """
    lost = [key for key, value in options.items() if find_leaves(value, Digest)]
    if not lost:
        return
    sources = [
        each
        for source in collect_sources(find_leaves(options, Digest))
        for each in secret_sources(source)
    ]
    needed = "options" if len(lost) > 1 else "option"
    needed += f" {' and '.join(lost)} {'need' if len(lost) > 1 else 'needs'}"
    needed += f" {'the old value' if changed else 'it'}"
    exported = " ".join(f"{name}=..." for name in _environment_names(sources))
    raise DtmError(
        f"Cannot {verb} {address.dotted}: {_problem(sources, changed=changed)} ({needed}).",
        hint=f"set the value that the tool was created with: export {exported}"
        if exported
        else f"delete the resource yourself, then run dtm state rm {address.dotted}",
        where=str(address),
    )


def _problem(sources: Iterable[str], *, changed: bool) -> str:
    """Describe what is wrong with the sources of lost secrets."""
    problems: list[str] = []
    for source in sources:
        kind, _, name = source.partition(" ")
        # `var deep.name` is a path inside the variable `deep`, which can only be set as a whole.
        subject = {"env": name, "var": f"variable {name.partition('.')[0]}"}.get(kind, source)
        missing = "is not set" if kind == "env" else "has no value"
        problems.append(f"{subject} {'has changed' if changed else missing}")
    return " and ".join(dict.fromkeys(problems)) or "the value of a secret is not known"


def _environment_names(sources: Iterable[str]) -> list[str]:
    """List the environment variables that give the secrets again."""
    names = [
        VARIABLE_PREFIX + name.partition(".")[0] if kind == "var" else name
        for kind, _, name in (source.partition(" ") for source in sources)
        if kind in ("env", "var")
    ]
    return list(dict.fromkeys(names))
