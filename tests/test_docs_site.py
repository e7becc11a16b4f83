"""Checks of the built documentation site that need no browser."""

import importlib.util
import os
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urldefrag, urljoin

import pytest

from tests.e2e.doc_runner import Step, steps

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.skipif(
    find_spec("mkdocs") is None, reason="mkdocs is installed by make check"
)


class Link(NamedTuple):
    """A link in the text of a page."""

    target: str
    text: str


class Page(HTMLParser):
    """The headings, navigation, links and console blocks of a built page.

    In the HTML of the theme, elements of class `md-nav__link` are the navigation, and the article
    is the text. `data-copy` is what the copy button of a block copies.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.hrefs: set[str] = set()
        self.navigation: dict[str, str] = {}
        self.links: list[Link] = []
        self.consoles: list[str | None] = []
        self._article = False
        self._heading = self._entry = self._link = ""
        self._text: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        classes = (found.get("class") or "").split()
        if tag == "article":
            self._article = True
        elif tag == "div" and "language-console" in classes:
            self.consoles.append(found.get("data-copy"))
        elif tag == "h1" and self._article:
            self._text = []
        elif tag == "a" and "headerlink" not in classes:
            self.hrefs.add(found.get("href") or "")
            self._entry = (found.get("href") or "") if "md-nav__link" in classes else ""
            self._link = (found.get("href") or "") if self._article and not classes else ""
            self._text = []

    def handle_endtag(self, tag: str) -> None:
        text = " ".join("".join(self._text).replace("¶", "").split())
        if tag == "article":
            self._article = False
        elif tag == "h1" and self._article:
            self.headings.append(text)
        elif tag == "a":
            if self._entry:
                self.navigation.setdefault(self._entry, text)
            if self._link:
                self.links.append(Link(self._link, text))
            self._entry = self._link = ""

    def handle_data(self, data: str) -> None:
        self._text.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    """Build the site and return its pages by their paths, such as `how-to/in-ci/`."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    environment = os.environ | {"DTM_REPO_URL": "https://git.example.org/team/dtm"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return {
        f"{path.parent.relative_to(folder).as_posix()}/".removeprefix("./"): Page(
            path.read_text("utf-8")
        )
        for path in folder.rglob("index.html")
    }


def address(page: str, link: str) -> str:
    """Return the path of the page that a link leads to."""
    return urldefrag(urljoin(f"https://site/{page}", link)).url.removeprefix("https://site/")


def source(page: str) -> Path:
    """Return the Markdown file of a page."""
    single = DOCS / f"{page.rstrip('/')}.md"
    return single if page and single.exists() else DOCS / page / "index.md"


def test_navigation_names_every_page_by_its_heading(site: dict[str, Page]) -> None:
    navigation = {
        address("", link): title
        for link, title in site[""].navigation.items()
        if not link.startswith("#")
    }
    assert navigation == {page: found.headings[0] for page, found in site.items()}


def test_every_page_has_one_heading_of_the_first_level(site: dict[str, Page]) -> None:
    assert {page: found.headings for page, found in site.items() if len(found.headings) != 1} == {}


def test_links_to_a_page_show_its_heading(site: dict[str, Page]) -> None:
    """A link to a part of a page may have another text."""
    different = {
        (page, link.target): link.text
        for page, found in site.items()
        for link in found.links
        if "#" not in link.target
        and (target := address(page, link.target)) in site
        and link.text != site[target].headings[0]
    }
    assert different == {}


def test_plugin_pages_are_in_the_navigation(site: dict[str, Page]) -> None:
    pages = {path.stem for path in (DOCS / "reference" / "plugins").glob("*.md")} - {"index"}
    listed = {address("", link) for link in site[""].navigation}
    assert pages
    assert {f"reference/plugins/{name}/" for name in pages} <= listed


def test_copy_button_copies_only_the_commands(site: dict[str, Page]) -> None:
    assert sum(len(found.consoles) for found in site.values()) > 50
    for page, found in site.items():
        commands = [
            step.command
            for step in steps(source(page).read_text("utf-8"))
            if isinstance(step, Step)
        ]
        assert "\n".join(copied or "" for copied in found.consoles) == "\n".join(commands), page


def test_every_page_links_to_the_repository(site: dict[str, Page]) -> None:
    url = "https://git.example.org/team/dtm"
    assert [page for page, found in site.items() if url not in found.hrefs] == []


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("https://git.example.org/team/dtm.git", "https://git.example.org/team/dtm"),
        ("https://me:secret@git.example.org/team/dtm", "https://git.example.org/team/dtm"),
        ("git@git.example.org:team/dtm.git", "https://git.example.org/team/dtm"),
        ("ssh://git@git.example.org:2222/a/b/dtm.git", "https://git.example.org/a/b/dtm"),
        ("/srv/git/dtm.git", ""),
        ("../dtm", ""),
        ("file:///srv/dtm.git", ""),
        ("", ""),
    ],
)
def test_repository_page_of_a_remote(remote: str, page: str) -> None:
    spec = importlib.util.spec_from_file_location("site_hooks", DOCS / "site_hooks.py")
    assert spec
    assert spec.loader
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    assert hooks.repository_page(remote) == page
