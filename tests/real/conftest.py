"""Fixtures for the real servers. Each test records the server that it ran on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.servers.dynamodb import Dynamo
from tests.servers.kube import Kube
from tests.servers.real import Terraform, real
from tests.servers.rgw import Rgw


def _server(name: str, record: Any) -> Any:
    found = getattr(real(), name)
    if found is None:
        pytest.skip(f"{name}: {real().why_not(name)}")
    record("server", found.title)
    return found


@pytest.fixture
def rgw(record_property: Any) -> Rgw:
    return _server("rgw", record_property)  # type: ignore[no-any-return]


@pytest.fixture
def dynamodb(record_property: Any) -> Dynamo:
    return _server("dynamodb", record_property)  # type: ignore[no-any-return]


@pytest.fixture
def kubernetes(record_property: Any) -> Kube:
    return _server("kubernetes", record_property)  # type: ignore[no-any-return]


@pytest.fixture
def terraform(record_property: Any) -> Terraform:
    return _server("terraform", record_property)  # type: ignore[no-any-return]
