"""The lookup of secrets by their recorded sources."""

from pathlib import Path
from typing import Any

import pytest

from dtm.app.invocation import Invocation
from dtm.app.secret_lookup import SecretLookup
from engine.config import Config, Settings
from engine.values import Secret


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("env T", "token"),
        ("env EMPTY", None),
        ("output a.b.outputs.c", None),
        ("var known", "from config"),
        ("var number", "5"),
        ("var map.list.1", "y"),
        ("var map.list.2", None),
        ("var map.none", None),
        ("var flag", "last"),
        ("var filed", "in a file"),
        ("var filed-map.a", "1"),
        ("var given", "007"),
        ("var given-map.a.b", "deep"),
        ("var nowhere", None),
        ("var nowhere.deep", None),
    ],
)
def test_lookup_by_source(source: str, value: Any, tmp_path: Path) -> None:
    files = (tmp_path / "one.yaml", tmp_path / "two.yaml")
    files[0].write_text("flag: first\nfiled: old\n", "utf-8")
    files[1].write_text("vars: {filed: in a file, filed-map: {a: 1}}\n", "utf-8")
    request = Invocation(
        tmp_path,
        {
            "T": "token",
            "EMPTY": "",
            "DTM_VAR_given": "007",
            "DTM_VAR_given-map": "{a: {b: deep}}",
            "DTM_VAR_filed": "env",
        },
        variables=(("flag", "then"), ("flag", "last"), ("known", "beside it")),
        var_files=files,
    )
    sensitive = {
        "known": Secret("from config"),
        "number": Secret(5),
        "map": Secret({"list": ["x", "y"]}),
    }
    assert (
        SecretLookup(request, Config(Settings(tmp_path), (), sensitive=sensitive))(source) == value
    )
