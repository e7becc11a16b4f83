"""Amazon's DynamoDB Local, with its data in memory. It can only listen on all addresses."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.processes import HOST, answers, free_ports, started

FLAGS = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
"""Options that halve the memory and the start time."""


@dataclass(frozen=True, slots=True)
class Dynamo:
    """A running server. Each key and region has its own tables; `table` has the key `LockID`."""

    title: str
    endpoint: str
    table: str = "locks"
    region: str = "us-east-1"
    access_key: str = "owner"
    secret_key: str = "ownersecret"

    def client(self) -> Any:
        """Return a boto3 client that does not retry."""
        import boto3
        from botocore.config import Config

        return boto3.session.Session(
            self.access_key, self.secret_key, region_name=self.region
        ).client(
            "dynamodb",
            endpoint_url=self.endpoint,
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=64),
        )


@contextlib.contextmanager
def dynamodb_local(folder: Path, package: Path) -> Iterator[Dynamo]:
    """Run a server until the block ends; `package` is the folder of its jar. Raises StartError."""
    folder.mkdir(parents=True)
    (port,) = free_ports(1)
    java = [
        "java",
        *FLAGS,
        f"-Djava.library.path={package}/DynamoDBLocal_lib",
        "-jar",
        str(package / "DynamoDBLocal.jar"),
    ]
    options = ["-inMemory", "-disableTelemetry", "-port", str(port)]
    with started(folder / "dynamodb.out", *java, *options, cwd=package) as program:
        endpoint = f"http://{HOST}:{port}"
        program.until(lambda: answers(endpoint, errors_too=True))
        found = Dynamo(f"DynamoDB Local {_version(program.log)}", endpoint)
        make_table(found.client(), found.table)
        yield found


def _version(log: Path) -> str:
    found = re.search(r"Version:\s*(\S+)", log.read_text("utf-8", "replace"))
    return found.group(1) if found else "of unknown version"


def make_table(client: Any, table: str) -> None:
    """Create a lock table, whose key is `LockID`, a string."""
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "LockID", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "LockID", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(
        TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
