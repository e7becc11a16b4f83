"""Fixtures for all tests: servers that start in a second, and one setting for property tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.servers.aws import Cloud, ministack
from tests.servers.fake_kube import FakeKube, fake_kube

# What an example takes says more about the machine than about the property.
settings.register_profile("dtm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dtm")


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """S3 and DynamoDB that start in a second; every test makes its own bucket and table."""
    with ministack(tmp_path_factory.mktemp("ministack")) as found:
        yield found


@pytest.fixture(scope="session")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeKube]:
    """An API server in this process; every test makes its own namespace."""
    with fake_kube(tmp_path_factory.mktemp("kube")) as found:
        yield found
