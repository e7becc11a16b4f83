"""Container images, shared by `argocdapp` and the CI plugins: registry and user give the name."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from engine.schema import Field, Options

DOCKER_HUB = "https://index.docker.io/v1/"
DOCKER_HUB_HOSTS = frozenset(
    {"index.docker.io", "docker.io", "registry-1.docker.io", "hub.docker.com"}
)


class ImageRepo(Options, frozen=True, kw_only=True):
    """The registry that images are pushed to and pulled from, and the account there."""

    url: Annotated[
        str,
        Field(
            "the registry; Docker Hub unless given", example="https://harbor.example.com/library"
        ),
    ] = DOCKER_HUB
    user: Annotated[
        str, Field("the account, which is the first part of the image's name", example="me")
    ] = ""
    password: Annotated[
        str,
        Field(
            "its password or token: pipelines then log in with the CI secret IMAGE_REPO_SECRET",
            secret=True,
        ),
    ] = ""


def get_registry_host(url: str) -> str:
    """Name the registry as `docker login` wants it, "" for Docker Hub."""
    host = urlsplit(url if "://" in url else f"https://{url}").netloc.rpartition("@")[2]
    return "" if host in DOCKER_HUB_HOSTS else host


def build_image_name(url: str, user: str, app: str) -> str:
    """Name an image: `me/app` on Docker Hub, `host[/path]/me/app` elsewhere; never a tag."""
    host = get_registry_host(url)
    path = urlsplit(url if "://" in url else f"https://{url}").path.strip("/") if host else ""
    kept = "" if path in ("v1", "v2") else path
    return "/".join(part for part in (host, kept, user, app) if part).lower()
