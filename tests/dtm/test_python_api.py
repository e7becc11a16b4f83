"""The page of the Python API: complete, and with an example for each method of a protocol."""

import ast
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import dtm
from engine import ports

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "python-api.md").read_text("utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PUBLIC = [name for names in dtm.PUBLIC.values() for name in names]
PROTOCOLS = [
    kind
    for kind in vars(ports).values()
    if getattr(kind, "_is_protocol", False) and kind.__module__ == ports.__name__
]
METHODS = [
    (protocol.__name__, name)
    for protocol in PROTOCOLS
    for name, member in vars(protocol).items()
    if not name.startswith("_") and (callable(member) or isinstance(member, property))
]


def entry(heading: str) -> str:
    """Return the text from a heading to the next one."""
    found = re.search(
        rf"^#+ `{re.escape(heading)}`\n(.*?)(?=^#+ |\Z)", PAGE, re.MULTILINE | re.DOTALL
    )
    assert found, heading
    return found[1]


def prose(text: str) -> str:
    return re.sub(r"^`from .* import .*`$", "", BLOCK.sub("", text), flags=re.MULTILINE).strip()


def names_in(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.FunctionDef):
            yield node.name


@pytest.mark.parametrize("name", PUBLIC)
def test_page_has_every_public_name(name: str) -> None:
    assert f"`from dtm import {name}`" in entry(name)


def test_every_name_on_the_page_is_explained() -> None:
    headings = re.findall(r"^#{3,} `(.*)`$", PAGE, re.MULTILINE)
    assert [name for name in headings if not prose(entry(name))] == []


def test_imports_on_the_page_work() -> None:
    imports = re.findall(r"^`from (\S+) import (\w+)`$", PAGE, re.MULTILINE)
    assert len(imports) > len(PUBLIC)
    assert [name for module, name in imports if not hasattr(import_module(module), name)] == []


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda kind: str(kind.__name__))
def test_page_has_every_protocol(protocol: type) -> None:
    assert entry(protocol.__name__)


@pytest.mark.parametrize(("protocol", "method"), METHODS, ids=lambda name: str(name))
def test_every_protocol_method_has_an_example(protocol: str, method: str) -> None:
    # The first block is the signature.
    signature, *examples = BLOCK.findall(entry(f"{protocol}.{method}"))
    assert signature.startswith(method)
    assert examples
    for example in examples:
        tree = ast.parse(textwrap.dedent(example))
        assert method in set(names_in(tree))
