"""Rendering of template files."""

from __future__ import annotations

import pytest

from engine.errors import ProviderError
from providers._git.objects import GitFile
from providers.scaffolding.render import render

VALUES = {
    "App": {"Name": "app"},
    "AppName": "app",
    "ImageRepo": "me/app",
    "port": 8080,
    "debug": True,
    "empty": "",
}


def rendered(path: str, text: str) -> tuple[str, str]:
    ((target, file),) = render({path: GitFile(text.encode())}, "app", VALUES).items()
    return target, file.data.decode()


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("_app_name_.txt", "app.txt"),
        ("cmd/_app_name_/main.go.tpl", "cmd/app/main.go"),
        ("_app_name__app_name_", "appapp"),
        ("docs/README.md", "docs/README.md"),
        ("README.md.tpl", "README.md"),
        ("_helpers.tpl.tpl", "_helpers.tpl"),
        ("tpl/file", "tpl/file"),
    ],
)
def test_name_placeholder_is_replaced_in_paths(path: str, target: str) -> None:
    assert rendered(path, "x") == (target, "x")


@pytest.mark.parametrize("path", ["README.md", ".git/config", "sub/.git/HEAD"])
def test_template_readme_and_git_files_are_left_out(path: str) -> None:
    assert render({path: GitFile(b"x")}, "app", VALUES) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[ .App.Name ]] [[.AppName]] [[ appName ]] [[ .app_name ]]", "app app app app"),
        ("[[- .ImageRepo -]]", "me/app"),
        ("[[ port ]] [[ debug ]] [[ empty ]]", "8080 true "),
        ("_app_name_/[[ imageRepo ]]", "app/me/app"),
        ("if [[ -f x ]]; [[1, 2]] {{ .Values.x }}", "if [[ -f x ]]; [[1, 2]] {{ .Values.x }}"),
    ],
)
def test_keys_are_replaced_in_tpl_files(text: str, expected: str) -> None:
    assert rendered("a.tpl", text) == ("a", expected)


def test_other_files_are_copied_unchanged() -> None:
    file = GitFile(b"\xff[[ .App.Name ]] _app_name_ \r\n", "100755")
    assert render({"bin/x": file}, "app", VALUES) == {"bin/x": file}
    assert render({"run.sh.tpl": GitFile(b"x", "100755")}, "app", VALUES) == {
        "run.sh": GitFile(b"x", "100755")
    }


def test_all_template_problems_are_reported_at_once() -> None:
    files = {
        "a.tpl": GitFile(b"one\n[[ imageRep ]] [[ .App.Nam ]]\n[[ if .x ]]y[[ end ]]"),
        "b.tpl": GitFile(b"\xff"),
        "c": GitFile(b""),
        "c.tpl": GitFile(b""),
        "d.tpl": GitFile(b"[[ App ]]"),
    }
    with pytest.raises(ProviderError) as caught:
        render(files, "app", VALUES)
    said = str(caught.value)
    for part in (
        "a.tpl:2: [[ imageRep ]] has no value (similar: imagerepo)",
        "a.tpl:2: [[ .App.Nam ]] has no value",
        "a.tpl:3: [[ if .x ]]: if is not supported",
        "a.tpl:3: [[ end ]]: end is not supported",
        "b.tpl: is not UTF-8",
        "c.tpl: another file of the template becomes c too",
        "d.tpl:1: [[ App ]] has no value",
    ):
        assert part in said
    assert "vars" in caught.value.hint
