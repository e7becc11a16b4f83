"""Each rule of `docs/prose.py` finds the sentence that is planted for it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def load() -> ModuleType:
    path = Path(__file__).parents[1] / "docs" / "prose.py"
    spec = importlib.util.spec_from_file_location("prose", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["prose"] = module
    spec.loader.exec_module(module)
    return module


prose = load()
MODULE = '"""A module."""\n'

PLANTED = {
    "docstring opening": ("engine/x.py", '"""Whether it is there."""', "opening"),
    "opening below a constant": (
        "engine/x.py",
        MODULE + 'X = 1\n"""Tells the number."""',
        "opening",
    ),
    "word in a docstring": ("engine/x.py", '"""Return whoever holds the lock."""', "word"),
    "word in a comment": ("engine/x.py", MODULE + "x = 1  # nobody reads it\n", "word"),
    "phrase over two comments": ("engine/x.py", MODULE + "# it is to be\n# had\n", "word"),
    "word in a message": ("engine/x.py", MODULE + 'x = "the user was told"\n', "word"),
    "word in an f-string": ("engine/x.py", MODULE + 'x = f"{y} is known to somebody"\n', "word"),
    "phrase across an f-string": ("dtm/x.py", MODULE + 'x = f"a {y} that " "is meant"\n', "word"),
    "denial by no": ("engine/x.py", MODULE + 'x = f"{y} is no tool"\n', "word"),
    "bare begin": ("engine/x.py", '"""Write a begin to the log."""', "word"),
    "internal word": ("engine/x.py", MODULE + 'x = f"chunk {y} is missing"\n', "internal"),
    "first person": ("engine/x.py", MODULE + 'x = f"to delete {y} I need z"\n', "person"),
    "class name": ("engine/x.py", MODULE + "class BadWeather:\n    x = 1\n", "name"),
    "function name": ("engine/x.py", MODULE + "def _told(): ...\n", "name"),
    "test name": ("tests/x.py", MODULE + f"def test_{'x' * 56}(): ...\n", "length"),
    "help text": ("dtm/x.py", MODULE + f'click.option("-x", help="{"x" * 81}")\n', "help"),
    "page": ("docs/x.md", "# Title\n\nSomebody edits the file.\n", "word"),
    "comment of a sample": ("dtm/samples/x.yaml", "tools: []  # nobody needs it\n", "word"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_sentence_is_found(name: str) -> None:
    path, source, rule = PLANTED[name]
    assert [found.rule for found in prose.check_file(path, source)] == [rule]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("docs/x.md", "```console\nnobody\n```\n`whoever` [text](told/mend.md)\n"),
        ("docs/x.md", "There is no lock. It is no longer there.\n"),
        ("tests/x.py", MODULE + 'config = "user: nobody else"\n'),
        ("engine/x.py", MODULE + 'x = "nobody"\n'),
        ("engine/x.py", '"""Return the begin record."""'),
        ("engine/x.py", MODULE + 'x = "an I/O error in EC2-I"\n'),
        ("dtm/testing/x.py", MODULE + 'x = "a chunk is missing"\n'),
    ],
)
def test_plain_text_passes(path: str, source: str) -> None:
    assert list(prose.check_file(path, source)) == []
