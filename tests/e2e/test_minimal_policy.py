"""The S3 permissions that Lokomotive, a Kubernetes distribution, documents are enough for dtm."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.conftest import Runner
from tests.servers.aws import Cloud
from tests.servers.policy import PolicyProxy, PolicyRequest, permits, policy_proxy

KEY = "clusters/one/devstream.state"
POLICY = """
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::<BUCKET_NAME>"},
  {
    "Effect": "Allow",
    "Action": ["s3:GetObject", "s3:PutObject"],
    "Resource": "arn:aws:s3:::<BUCKET_NAME>/<KEY>"
  }
]}
"""
LOCKING = {
    "Effect": "Allow",
    "Action": ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem"],
    "Resource": "arn:aws:dynamodb:*:*:table/<TABLE_NAME>",
}
CONFIG = """
config:
  state:
    backend: s3
    log: inline
    options: {options}
tools:
- name: data
  instanceID: a
  options: {{input: {value}}}
- name: data
  instanceID: b
  dependsOn: [data.a]
  options: {{input: "${{{{ data.a.outputs.output }}}}"}}
"""


def policy_of(bucket: str, key: str, table: str) -> dict[str, object]:
    policy = json.loads(POLICY)
    policy["Statement"] += [LOCKING] if table else []
    text = json.dumps(policy)
    for name, value in (("BUCKET_NAME", bucket), ("KEY", key), ("TABLE_NAME", table)):
        text = text.replace(f"<{name}>", value)
    found: dict[str, object] = json.loads(text)
    return found


@pytest.fixture(params=[True, False], ids=["table", "no_table"])
def locking(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def gate(locking: bool, cloud: Cloud, dtm: Runner) -> Iterator[PolicyProxy]:
    """Write a config whose requests go through a proxy that enforces the policy."""
    options = cloud.fresh(KEY)
    table = str(options["dynamodbTable"]) if locking else ""
    with policy_proxy(cloud.endpoint, policy_of(str(options["bucket"]), KEY, table)) as found:
        given = {
            "bucket": options["bucket"],
            "key": KEY,
            "region": cloud.region,
            "endpoint": found.endpoint,
            **({"dynamodbTable": table, "dynamodbEndpoint": found.endpoint} if table else {}),
        }
        dtm.env |= {
            "AWS_ACCESS_KEY_ID": cloud.access_key,
            "AWS_SECRET_ACCESS_KEY": cloud.secret_key,
        }
        configure(dtm.folder, given, "one")
        yield found


def configure(folder: Path, options: Mapping[str, object], value: str) -> None:
    (folder / "config.yaml").write_text(CONFIG.format(options=json.dumps(options), value=value))


def test_documented_permissions_are_enough(gate: PolicyProxy, locking: bool, dtm: Runner) -> None:
    dtm("init")
    dtm("plan", "--lock")
    output = dtm("apply", "-y")
    unlocked = (
        "running without a lock because state.log: inline allows no object but the state file"
    )
    assert (unlocked in output) is not locking
    assert ("not locked" if locking else "locking is off") in dtm("lock", code=0 if locking else 1)
    dtm("state", "list")
    config = dtm.folder / "config.yaml"
    config.write_text(config.read_text().replace("input: one", "input: two"))
    dtm("plan")
    dtm("apply", "-y")
    assert "data/b" in dtm("state", "list")
    dtm("state", "mv", "data.b", "data.c")
    dtm("state", "mv", "data.c", "data.b")
    dtm("state", "history")
    dtm("state", "probe")
    assert "nothing to do" in dtm("plan", "--detailed-exitcode")
    dtm("destroy", "-y")
    assert "data/" not in dtm("state", "list")
    assert gate.denied == []
    assert {asked.action for asked in gate.allowed} >= {"s3:GetObject", "s3:PutObject"}


def test_denied_log_object_leads_to_an_inline_log(
    gate: PolicyProxy, locking: bool, dtm: Runner
) -> None:
    config = dtm.folder / "config.yaml"
    config.write_text(config.read_text().replace("log: inline", "log: auto"))
    output = dtm("apply", "-y")
    assert f"{KEY}.log: s3:PutObject is denied to access key ...WNER" in output
    denied = {refusal.resource.rpartition(KEY)[2].partition("-")[0] for refusal in gate.denied}
    assert denied == ({".log"} if locking else {".log", ".probe"})
    assert "kept inside the state file" in output
    assert "kept inside" not in dtm("apply", "-y")
    dtm("destroy", "-y")
    assert "data/" not in dtm("state", "list")


def test_proxy_denies_what_the_policy_does_not_allow() -> None:
    policy = policy_of("b", "k", "t")
    assert permits(policy, PolicyRequest("s3:GetObject", "arn:aws:s3:::b/k"))
    assert permits(
        policy, PolicyRequest("dynamodb:PutItem", "arn:aws:dynamodb:eu-west-1:1:table/t")
    )
    for action, resource in (
        ("s3:DeleteObject", "arn:aws:s3:::b/k"),
        ("s3:PutObject", "arn:aws:s3:::b/k.log"),
        ("s3:GetObject", "arn:aws:s3:::b"),
        ("dynamodb:DescribeTable", "arn:aws:dynamodb:eu-west-1:1:table/t"),
        ("s3:?", "arn:aws:s3:::b"),
    ):
        assert not permits(policy, PolicyRequest(action, resource))
