"""Emulators of S3 and DynamoDB that start in a second: ministack and moto."""

from __future__ import annotations

import contextlib
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from backends.aws.session import AwsAccount, AwsCredentials
from engine.values import Value
from tests.servers.dynamodb import make_table
from tests.servers.processes import HOST, answers, free_ports, started


@dataclass(frozen=True, slots=True)
class Cloud:
    """URLs of an S3 server and a DynamoDB server ("": none), and the credentials for both."""

    title: str
    endpoint: str
    dynamodb: str = ""
    region: str = "us-east-1"
    access_key: str = "AKIDTMTESTOWNER"
    secret_key: str = "ownersecret"

    def options(
        self, bucket: str, key: str = "devstream.state", table: str = ""
    ) -> dict[str, Value]:
        """Return the options of a state on these servers, as in a configuration."""
        tables: dict[str, Value] = (
            {"dynamodbTable": table, "dynamodbEndpoint": self.dynamodb} if table else {}
        )
        return {
            "bucket": bucket,
            "key": key,
            "region": self.region,
            "endpoint": self.endpoint,
            "accessKey": self.access_key,
            "secretKey": self.secret_key,
            "timeout": 60,
            **tables,
        }

    def fresh(self, key: str = "devstream.state") -> dict[str, Value]:
        """Create a bucket, and a lock table if there is DynamoDB; return the options of a state."""
        name = f"dtm-{uuid.uuid4().hex[:12]}"
        self.client("s3", self.endpoint).create_bucket(Bucket=name)
        if self.dynamodb:
            make_table(self.client("dynamodb", self.dynamodb), name)
        return self.options(name, key, name if self.dynamodb else "")

    def client(self, service: str, endpoint: str) -> Any:
        """Return a plain client, for requests that dtm itself never sends."""
        return _client(service, endpoint, self.region, self.access_key, self.secret_key)


@cache
def _client(service: str, endpoint: str, region: str, access_key: str, secret_key: str) -> Any:
    return AwsAccount(AwsCredentials(access_key=access_key, secret_key=secret_key)).client(
        service, region, endpoint
    )


def _program(name: str) -> str:
    """Return the path of a program that the test requirements install."""
    return str(Path(sys.executable).with_name(name))


@contextlib.contextmanager
def ministack(folder: Path) -> Iterator[Cloud]:
    """Run ministack until the block ends."""
    (port,) = free_ports(1)
    env: Mapping[str, str] = {
        "BIND_HOST": HOST,
        "IOT_MTLS_ENABLED": "0",
        "GATEWAY_PORT": str(port),
        "LOG_LEVEL": "WARNING",
    }
    with started(folder / "ministack.out", _program("ministack"), env=env, cwd=folder) as running:
        endpoint = f"http://{HOST}:{port}"
        running.until(lambda: answers(f"{endpoint}/_ministack/health", errors_too=True))
        yield Cloud("ministack", endpoint, endpoint)


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[Cloud]:
    """Run moto until the block ends."""
    (port,) = free_ports(1)
    with started(
        folder / "moto.out", _program("moto_server"), "-H", HOST, "-p", str(port), cwd=folder
    ) as running:
        endpoint = f"http://{HOST}:{port}"
        running.until(lambda: answers(f"{endpoint}/moto-api/", errors_too=True))
        yield Cloud("moto", endpoint, endpoint)
