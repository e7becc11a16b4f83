"""Loading of templates from all sources."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.address import Address
from engine.errors import ProviderError
from engine.ports import Call
from providers._git.objects import GitFile
from providers._git.repository import GitRepository
from providers._git.scm import NO_REPO_API
from providers.scaffolding.options import ScaffoldOptions, build_request
from providers.scaffolding.source import (
    TEMPLATES_DIR,
    TemplateRepo,
    list_templates,
    load_template,
    resolve_template,
)
from tests.providers._git.git_http import serve

TINY = Path(__file__).parents[3] / "fixtures" / "repos" / "tiny"
EXPECTED = {
    "README.md": "100644",
    "README.md.tpl": "100644",
    "docs/README.md": "100644",
    "run.sh": "100755",
    "src/_app_name_.txt": "100644",
}


@pytest.fixture
def call(tmp_path: Path) -> Call:
    return Call(Address("repo-scaffolding", "a"), base_dir=tmp_path)


def modes(files: dict[str, GitFile]) -> dict[str, str]:
    return {path: file.mode for path, file in files.items()}


def build_archive(kind: str, top: str) -> bytes:
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            for path in EXPECTED:
                archive.write(TINY / path, top + path)
    else:
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            for path in EXPECTED:
                archive.add(TINY / path, top + path)
    return out.getvalue()


@pytest.mark.parametrize("top", ["", "template-main/"])
@pytest.mark.parametrize(
    ("kind", "name"), [("zip", "t.zip"), ("tar", "t.tar.gz"), ("tar", "t.TGZ")]
)
def test_archives_load_with_and_without_a_top_directory(
    kind: str, name: str, top: str, call: Call
) -> None:
    (call.base_dir / name).write_bytes(build_archive(kind, top))
    files = load_template(f"./{name}", call)
    assert modes(files) == EXPECTED
    assert files["run.sh"].data == (TINY / "run.sh").read_bytes()


def test_directory_template_keeps_symbolic_links(call: Call) -> None:
    shutil.copytree(TINY, call.base_dir / "t")
    (call.base_dir / "t" / "link").symlink_to("run.sh")
    (call.base_dir / "t" / ".git").mkdir()
    (call.base_dir / "t" / ".git" / "config").write_text("x")
    files = load_template("./t", call)
    assert modes(files) == EXPECTED | {"link": "120000"}
    assert files["link"].data == b"run.sh"


def test_git_templates_load_from_disk_and_http(call: Call, tmp_path: Path) -> None:
    bare = GitRepository("served/me/t.git", "trunk", call=call)
    bare.init_bare()
    bare.commit(load_template(str(TINY), call), "template", author="a <a@x>")
    bare.with_branch("side").commit({"only": b"side"}, "side", author="a <a@x>")
    assert modes(load_template("./served/me/t.git", call)) == EXPECTED
    subprocess.run(
        ["git", "clone", "-q", tmp_path / "served/me/t.git", tmp_path / "work"], check=True
    )
    with serve(tmp_path / "served") as server:
        assert modes(load_template(f"{server.url}/me/t.git", call)) == EXPECTED
        template = TemplateRepo(owner="me", name="t", base_url=server.url)
        assert modes(load_template(template, call)) == EXPECTED
        assert (
            load_template(TemplateRepo(url=f"{server.url}/me/t.git", branch="side"), call)[
                "only"
            ].data
            == b"side"
        )
        with pytest.raises(ProviderError, match="with the branch nope"):
            load_template(TemplateRepo(url=f"{server.url}/me/t.git", branch="nope"), call)
        with pytest.raises(ProviderError, match="there is no template repository"):
            load_template(f"{server.url}/me/other.git", call)


def test_archive_template_is_downloaded(call: Call, tmp_path: Path) -> None:
    (tmp_path / "t.zip").write_bytes(build_archive("zip", "x/"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            assert (
                modes(load_template(f"http://127.0.0.1:{server.server_port}/t.zip", call))
                == EXPECTED
            )
            with pytest.raises(ProviderError, match="cannot download"):
                load_template(f"http://127.0.0.1:{server.server_port}/none.zip", call)
        finally:
            server.shutdown()
            thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("golang-gin", "golang-gin"),
        ("dtm-repo-scaffolding-python-flask", "python-flask"),
        (
            {"org": "devstream-io", "name": "dtm-repo-scaffolding-golang-gin", "scmType": "github"},
            "golang-gin",
        ),
        ({"org": "devstream-io", "name": "dtm-scaffolding-golang"}, "golang-gin"),
        ({"owner": "me", "name": "golang-gin"}, "https://github.com/me/golang-gin.git"),
        ({"org": "us", "name": "t", "scmType": "gitlab"}, "https://gitlab.com/us/t.git"),
        ({"url": "git@git.test:us/t.git"}, "git@git.test:us/t.git"),
        ("git.test/us/t", "https://git.test/us/t"),
        ("./t", "./t"),
        ("https://git.test/t.zip", "https://git.test/t.zip"),
        ("t.tgz", "t.tgz"),
    ],
)
def test_template_options_resolve_to_a_location(given: Any, expected: str) -> None:
    template = given if isinstance(given, str) else msgspec.convert(given, TemplateRepo)
    assert resolve_template(template) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("golang-gim", 'no template "golang-gim": use golang-gin,'),
        (
            "cobol",
            "use one of golang-cli, golang-gin, java-springboot, nodejs-express, python-flask",
        ),
        ({"owner": "me"}, "sourceRepo names no template"),
        ({"name": "t"}, 'no template "t"'),
        ({"name": "t", "owner": "me", "scmType": "local"}, 'no template "t"'),
    ],
)
def test_unknown_template_is_refused_when_options_are_decoded(given: Any, message: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(
            {"destinationRepo": {"url": "./a.git"}, "sourceRepo": given}, ScaffoldOptions
        )
    assert message in str(caught.value)
    assert NO_REPO_API not in str(caught.value)


@pytest.mark.parametrize("name", ["./none", "./none.zip", "./broken.zip", "./broken.tar"])
def test_unreadable_template_is_named(name: str, call: Call) -> None:
    for broken in ("broken.zip", "broken.tar"):
        (call.base_dir / broken).write_bytes(b"nonsense")
    with pytest.raises(ProviderError) as caught:
        load_template(name, call)
    assert name.removeprefix("./") in str(caught.value)


@pytest.mark.parametrize("name", list_templates())
def test_every_shipped_template_renders_completely(name: str, call: Call) -> None:
    options = msgspec.convert(
        {"destinationRepo": {"url": "https://git.test/Me/my-app"}, "sourceRepo": name},
        ScaffoldOptions,
    )
    files = build_request(options).render_files(call)
    for wanted in (
        "README.md",
        "Dockerfile",
        "Makefile",
        "helm/my-app/Chart.yaml",
        "helm/my-app/values.yaml",
        ".gitignore",
    ):
        assert wanted in files
    assert any("test" in path for path in files)
    for path, file in files.items():
        assert b"_app_name_" not in file.data, path
        assert "_app_name_" not in path
        assert b"[[ ." not in file.data, path
    assert b"repository: me/my-app\n" in files["helm/my-app/values.yaml"].data


def test_shipped_templates_survive_installation() -> None:
    for path in TEMPLATES_DIR.rglob("*"):
        assert path.suffix != ".py"
        assert path.name != ".gitignore"
