"""Two users at once over a network that loses, delays, cuts, refuses and reorders requests.

No result is lost, and no resource is created twice.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.promises.crash.victim import ForkServer
from tests.real.competing_users import USERS, CompetingUsers, Network
from tests.servers.dynamodb import Dynamo
from tests.servers.kube import Kube
from tests.servers.proxy import Fault, FaultProxy, seeded
from tests.servers.rgw import Rgw

SEEDS = range(int(os.environ.get("DTM_FAULT_SEEDS", "20")))
ONLY = os.environ.get("DTM_FAULT_SEED")
"""A single seed to run again."""
RATE = 0.12
LEASE, PARTITION = 1.0, 3.0
"""Seconds: the lease of a lock, and the delay of a delayed request."""
SIDE_BY_SIDE = 8


@dataclass(frozen=True, slots=True)
class Report:
    """The number of each fault, and of each exit code."""

    faults: Counter[Fault]
    ends: Counter[int]


def _run_all_seeds(users: CompetingUsers, modules: tuple[str, ...]) -> Report:
    """Run all seeds, several of them in parallel; return the faults and exit codes of all."""
    idle: SimpleQueue[tuple[ForkServer, ForkServer]] = SimpleQueue()
    pairs = [(ForkServer(modules), ForkServer(modules)) for _ in range(SIDE_BY_SIDE)]
    for pair in pairs:
        idle.put(pair)

    def run_both(seed: int) -> tuple[Network, list[int]]:
        pair = idle.get()
        try:
            return users.run_both(seed, pair)
        finally:
            idle.put(pair)

    try:
        for fork_server in (fork_server for pair in pairs for fork_server in pair):
            fork_server.ready()
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            networks, ends = zip(*pool.map(run_both, [int(ONLY)] if ONLY else SEEDS), strict=True)
        return Report(
            sum((network.counts() for network in networks), Counter()),
            Counter(code for pair in ends for code in pair),
        )
    finally:
        for fork_server in (fork_server for pair in pairs for fork_server in pair):
            fork_server.close()


@pytest.fixture
def s3(rgw: Rgw, dynamodb: Dynamo, tmp_path: Path) -> Callable[[], Report]:
    keys = {"AWS_ACCESS_KEY_ID": rgw.access_key, "AWS_SECRET_ACCESS_KEY": rgw.secret_key}

    @contextmanager
    def network(seed: int) -> Iterator[Network]:
        schedule = seeded(seed, RATE)
        with (
            FaultProxy(rgw.endpoint, schedule, delay=PARTITION) as bucket,
            FaultProxy(dynamodb.endpoint, schedule, delay=PARTITION) as table,
        ):
            env = {
                **keys,
                "AWS_ENDPOINT_URL_S3": bucket.url,
                "AWS_ENDPOINT_URL_DYNAMODB": table.url,
            }
            yield Network(
                lambda user: {**env, "AWS_SDK_UA_APP_ID": user},
                lambda: bucket.counts + table.counts,
            )

    def settings(name: str, timeout: float) -> str:
        return (
            f"state: {{backend: s3, lock: {{lease: {LEASE}s}}, "
            f"options: {{bucket: {rgw.plain}, key: faults/{name}, region: {rgw.region}, "
            f"dynamodbTable: {dynamodb.table}, timeout: {timeout}}}}}\n"
        )

    direct = {
        **keys,
        "AWS_ENDPOINT_URL_S3": rgw.endpoint,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.endpoint,
    }
    return lambda: _run_all_seeds(
        CompetingUsers(tmp_path, settings, network, direct),
        ("boto3", "botocore.config", "botocore.client"),
    )


@pytest.fixture
def configmaps(kubernetes: Kube, tmp_path: Path) -> Callable[[], Report]:
    namespace = kubernetes.namespace("faults")

    def kubeconfig(name: str, server: str, token: str) -> dict[str, str]:
        path = tmp_path / name
        path.write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
            f'clusters: [{{name: c, cluster: {{server: "{server}", '
            "insecure-skip-tls-verify: true}}]\n"
            f"users: [{{name: u, user: {{token: {token}}}}}]\n"
            "contexts: [{name: c, context: {cluster: c, user: u}}]\n",
            "utf-8",
        )
        return {"KUBECONFIG": str(path)}

    @contextmanager
    def network(seed: int) -> Iterator[Network]:
        with FaultProxy(kubernetes.server, seeded(seed, RATE), delay=PARTITION) as server:
            tokens = dict(zip(USERS, (kubernetes.token, kubernetes.team_token), strict=True))
            envs = {
                user: kubeconfig(f"{user}-{seed}", server.url, token)
                for user, token in tokens.items()
            }
            yield Network(envs.__getitem__, lambda: server.counts)

    def settings(name: str, timeout: float) -> str:
        return (
            f"state: {{backend: kubernetes, lock: {{lease: {LEASE}s}}, "
            f"options: {{namespace: {namespace}, configmap: {name}, timeout: {timeout}}}}}\n"
        )

    direct = kubeconfig("direct", kubernetes.server, kubernetes.token)
    kubernetes.grant(namespace, ["get", "list", "create", "update", "delete"])
    return lambda: _run_all_seeds(
        CompetingUsers(tmp_path, settings, network, direct), ("kubernetes.client",)
    )


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("store", ["s3", "configmaps"])
def test_two_users_survive_network_faults(store: str, request: pytest.FixtureRequest) -> None:
    report: Report = request.getfixturevalue(store)()
    faults = ", ".join(f"{fault.name} {report.faults[fault]}" for fault in Fault)
    ends = ", ".join(f"{number} with {code}" for code, number in sorted(report.ends.items()))
    print(f"{store}: {faults}; runs that ended: {ends}")  # noqa: T201 - part of the report
    assert ONLY or all(report.faults[fault] for fault in Fault), report
    assert ONLY or (report.ends[0] and report.ends[1] + report.ends[3]), report
