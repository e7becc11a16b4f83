"""A whole life with exactly the permissions that Lokomotive's documentation asks for, and no request beyond them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.conftest import Runner
from tests.servers.aws import Cloud, ministack
from tests.servers.policy import Asked, Door, door, permits

KEY = "clusters/one/devstream.state"
POLICY = """
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::<BUCKET_NAME>"},
  {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::<BUCKET_NAME>/<KEY>"}
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
    lock: {{kind: {lock}}}
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


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with ministack(tmp_path_factory.mktemp("cloud")) as found:
        if found is None:
            pytest.skip("ministack is not installed")
        yield found


def policy_of(bucket: str, key: str, table: str) -> dict[str, object]:
    policy = json.loads(POLICY)
    policy["Statement"] += [LOCKING] if table else []
    text = json.dumps(policy)
    for name, value in (("BUCKET_NAME", bucket), ("KEY", key), ("TABLE_NAME", table)):
        text = text.replace(f"<{name}>", value)
    found: dict[str, object] = json.loads(text)
    return found


@pytest.fixture(params=["dynamodb", "none"])
def life(request: pytest.FixtureRequest, cloud: Cloud, dtm: Runner) -> Iterator[Door]:
    """A config whose state is behind a door that enforces the policy."""
    options = cloud.fresh(KEY)
    table = str(options.get("dynamodbTable", "")) if request.param == "dynamodb" else ""
    with door(cloud.endpoint, policy_of(str(options["bucket"]), KEY, table)) as found:
        given = {
            "bucket": options["bucket"], "key": KEY, "region": cloud.region, "endpoint": found.endpoint,
            **({"dynamodbTable": table, "dynamodbEndpoint": found.endpoint} if table else {}),
        }  # fmt: skip
        dtm.env |= {"AWS_ACCESS_KEY_ID": cloud.access_key, "AWS_SECRET_ACCESS_KEY": cloud.secret_key}
        configure(dtm.folder, request.param, given, "one")
        yield found


def configure(folder: Path, lock: str, options: Mapping[str, object], value: str) -> None:
    (folder / "config.yaml").write_text(CONFIG.format(lock=lock, options=json.dumps(options), value=value))


def test_a_whole_life_needs_nothing_beyond_the_documented_permissions(life: Door, dtm: Runner) -> None:
    dtm("init")
    dtm("plan")
    dtm("apply", "-y")
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
    assert life.denied == []
    assert {asked.action for asked in life.allowed} >= {"s3:GetObject", "s3:PutObject"}


def test_a_log_that_may_not_be_written_goes_into_the_document(life: Door, dtm: Runner) -> None:
    config = dtm.folder / "config.yaml"
    config.write_text(config.read_text().replace("log: inline", "log: auto"))
    told = dtm("apply", "-y")
    assert f"{KEY}.log: s3:PutObject is denied to access key ...WNER" in told
    assert {refusal.resource.rpartition(KEY)[2] for refusal in life.denied} == {".log"}
    dtm("destroy", "-y")
    assert "data/" not in dtm("state", "list")


def test_the_door_denies_what_the_policy_does_not_name() -> None:
    policy = policy_of("b", "k", "t")
    assert permits(policy, Asked("s3:GetObject", "arn:aws:s3:::b/k"))
    assert permits(policy, Asked("dynamodb:PutItem", "arn:aws:dynamodb:eu-west-1:1:table/t"))
    for action, resource in (
        ("s3:DeleteObject", "arn:aws:s3:::b/k"), ("s3:PutObject", "arn:aws:s3:::b/k.log"), ("s3:GetObject", "arn:aws:s3:::b"),
        ("dynamodb:DescribeTable", "arn:aws:dynamodb:eu-west-1:1:table/t"), ("s3:?", "arn:aws:s3:::b"),
    ):  # fmt: skip
        assert not permits(policy, Asked(action, resource))
