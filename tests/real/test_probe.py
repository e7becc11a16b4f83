"""The probe on real servers. The command line refuses a place that the probe refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

from backends.aws import s3
from backends.kubernetes import store as kubernetes_backend
from engine.log.probe import CREATE, RACE, SWAP, probe
from engine.log.state_store import StateStore
from engine.ports import Store
from tests.contracts.kube import ROLE
from tests.servers.aws import Cloud
from tests.servers.kube import Kube
from tests.servers.rgw import Rgw


def options_in(rgw: Rgw, bucket: str) -> dict[str, object]:
    cloud = Cloud(
        rgw.title,
        rgw.endpoint,
        region=rgw.region,
        access_key=rgw.access_key,
        secret_key=rgw.secret_key,
    )
    return dict(cloud.options(bucket, f"{uuid.uuid4()}/state"))


def store_in(rgw: Rgw, bucket: str) -> Store:
    return s3.open_backend(options_in(rgw, bucket), Path("/"), {}).store  # type: ignore[arg-type] # text only


def test_probe_accepts_an_unversioned_bucket_on_ceph(rgw: Rgw) -> None:
    found = probe(StateStore(store_in(rgw, rgw.plain), str(uuid.uuid4())), lock_native=True)
    assert (
        found.supports_lock
        and found.protects_state
        and {trial.name for trial in found.trials} == {CREATE, SWAP, RACE}
    )


def test_probe_refuses_a_versioned_bucket_on_ceph(rgw: Rgw) -> None:
    found = probe(StateStore(store_in(rgw, rgw.versioned), str(uuid.uuid4())), lock_native=True)
    assert {trial.name for trial in found.trials if not trial.kept} == {CREATE, SWAP, RACE}
    refusal = found.refusal(lock_native=False)
    assert (
        refusal is not None
        and "cannot protect a state" in refusal.message
        and "without versioning" in refusal.hint
    )


def test_probe_accepts_kubernetes(kubernetes: Kube) -> None:
    namespace = kubernetes.namespace("probe")
    kubernetes.grant(namespace, ROLE)
    options = {"kubeconfig": kubernetes.kubeconfig, "context": "team", "namespace": namespace}
    store = kubernetes_backend.open_backend(options, Path("/"), {}).store
    assert probe(StateStore(store, "state"), lock_native=True).supports_lock


def test_dtm_refuses_a_versioned_bucket_on_ceph(rgw: Rgw, tmp_path: Path) -> None:
    state = {"backend": "s3", "options": options_in(rgw, rgw.versioned), "lock": {"kind": "native"}}
    tools = [{"name": "data", "instanceID": "a", "options": {"input": 1}}]
    (tmp_path / "config.yaml").write_text(json.dumps({"state": state, "tools": tools}))
    for command in (["apply", "-y"], ["state", "probe"]):
        done = subprocess.run(
            [sys.executable, "-m", "dtm", *command],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        output = done.stdout + done.stderr
        assert (
            done.returncode == 1
            and "cannot protect a state" in output
            and "Traceback" not in output
        ), output
