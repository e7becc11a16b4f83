"""A template package for plugin authors."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Final

from dtm import __version__
from dtm.describe import SAMPLES
from dtm.plugins import BUILT_IN
from engine.address import name_problem
from engine.errors import DtmError, UsageError

TEMPLATE: Final = SAMPLES / "plugin"


def create_plugin(name: str, directory: Path) -> list[Path]:
    """Write the package `dtm-plugin-NAME` into a directory of that name.

    Return its files. Raises UsageError, and DtmError if a file cannot be written.
    """
    if not name:
        raise UsageError('the name must be not "", you can specify it by --name flag')
    if problem := name_problem(name):
        raise UsageError(problem)
    if name in BUILT_IN:
        raise UsageError(
            f"plugin {name} is built in",
            hint="choose another name: a built-in plugin cannot be replaced",
        )
    root = directory / f"dtm-plugin-{name}"
    if root.exists():
        raise UsageError(
            f"plugin {name} already exists", hint=f"remove {root}, or choose another name"
        )
    words = _words(name)
    files = [
        (root / _target_path(path, words["module"]), path)
        for path in sorted(TEMPLATE.rglob("*.tmpl"))
    ]
    for target, source in files:
        text = Template(source.read_text("utf-8")).substitute(words)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
        except OSError as error:
            raise DtmError(
                f"cannot write {target}: {error.strerror}",
                hint=f"make {directory} writable",
            ) from error
    return [target for target, _ in files]


def _words(name: str) -> dict[str, str]:
    return {
        "name": name,
        "distribution": f"dtm-plugin-{name}",
        "module": f"dtm_plugin_{name.replace('-', '_')}",
        "provider": "Plugin" + "".join(word.capitalize() for word in name.split("-")),
        "version": __version__,
    }


def _target_path(template: Path, module: str) -> Path:
    return Path(
        str(template.relative_to(TEMPLATE)).replace("_module_", module).removesuffix(".tmpl")
    )
