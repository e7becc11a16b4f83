"""Names of container images, built from registry and account, for `argocdapp` and CI plugins."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from engine.schema import Field, Options

DOCKER_HUB = "https://index.docker.io/v1/"
DOCKER_HUB_HOSTS = frozenset(
    {"index.docker.io", "docker.io", "registry-1.docker.io", "hub.docker.com"}
)


class ImageRepo(Options, frozen=True, kw_only=True):
    """The registry to which an image is pushed, and the account there."""

    url: Annotated[
        str,
        Field(
            "URL of the registry. The default is Docker Hub.",
            example="https://harbor.example.com/library",
        ),
    ] = DOCKER_HUB
    user: Annotated[
        str, Field("Account at the registry. The image name begins with it.", example="me")
    ] = ""
    password: Annotated[
        str,
        Field(
            "Password or token of the account. If set, the pipeline logs in with the CI secret "
            "IMAGE_REPO_SECRET. Create that secret yourself.",
            secret=True,
        ),
    ] = ""


def get_registry_host(url: str) -> str:
    """Return the registry host that `docker login` expects, "" for Docker Hub."""
    host = urlsplit(url if "://" in url else f"https://{url}").netloc.rpartition("@")[2]
    return "" if host in DOCKER_HUB_HOSTS else host


def build_image_name(url: str, user: str, app: str) -> str:
    """Return an image name without a tag: `me/app` on Docker Hub, else `host[/path]/me/app`."""
    host = get_registry_host(url)
    path = urlsplit(url if "://" in url else f"https://{url}").path.strip("/") if host else ""
    # `v1` and `v2` are versions of the registry API, not parts of an image name.
    prefix = "" if path in ("v1", "v2") else path
    return "/".join(part for part in (host, prefix, user, app) if part).lower()
