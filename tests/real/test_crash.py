"""Kills at any point of a run with a shared state: the next run recovers without help."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.promises.crash.locations import SharedState
from tests.promises.crash.trials import (
    Trials,
    describe_kill_points,
    fork_servers,
    random_kill_points,
)
from tests.servers.dynamodb import Dynamo
from tests.servers.kube import Kube
from tests.servers.rgw import Rgw

STEP = int(os.environ.get("DTM_CRASH_STEP", "5"))
"""Every n-th kill point is tested. `make test-crash` tests all, and 100 random moments."""
MOMENTS = int(os.environ.get("DTM_CRASH_MOMENTS", "10"))
SIDE_BY_SIDE = 4
"""Parallel runs; each spends most of its time waiting for the lease of a killed run."""


def _trials(root: Path, place: SharedState) -> Iterator[Trials]:
    with fork_servers(place, SIDE_BY_SIDE) as started:
        yield Trials(root, place, started)


@pytest.fixture
def s3(
    rgw: Rgw, dynamodb: Dynamo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Trials]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", rgw.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", rgw.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", rgw.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.endpoint)
    url = f"s3://{rgw.plain}/crash/{{name}}/devstream.state?region={rgw.region}&dynamodbTable={dynamodb.table}&lease=1s"
    yield from _trials(tmp_path, SharedState(url, ("boto3", "botocore.config", "botocore.client")))


@pytest.fixture
def configmaps(
    kubernetes: Kube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Trials]:
    monkeypatch.setenv("KUBECONFIG", kubernetes.kubeconfig)
    yield from _trials(
        tmp_path, SharedState("k8s://crash/{name}?context=admin&lease=1s", ("kubernetes.client",))
    )


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("store", ["s3", "configmaps"])
def test_next_run_recovers_from_a_kill_at_any_point(
    store: str, request: pytest.FixtureRequest
) -> None:
    trials: Trials = request.getfixturevalue(store)
    print(f"{store}\n{describe_kill_points(trials.calls)}")  # noqa: T201 - part of the report
    assert len(trials.kill_points()) > 100
    trials.run_all(trials.kill_points()[::STEP])
    died = trials.run_all(random_kill_points(trials.calls, random.Random(11).uniform, MOMENTS))
    assert died > MOMENTS / 2, f"only {died} of {MOMENTS} runs died: the moments miss the run"
