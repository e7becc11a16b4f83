"""Making the bucket and the lock table that a state on S3 needs, and the policy that lets somebody use them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from backends.aws.errors import Request, code_of
from backends.aws.options import Settings
from backends.aws.session import Aws
from engine.errors import StoreError

NOT_OFFERED: Final = (
    "NotImplemented",
    "MethodNotAllowed",
    "UnsupportedOperation",
    "MalformedXML",
    "InvalidArgument",
    "405",
    "501",
)
PAUSE, PATIENCE = 0.5, 60.0
"""Seconds between two looks at a table that is being made, and in all."""


class S3Creating:
    """`engine.ports.Creating` for a bucket and, where one is named, a table."""

    def __init__(
        self,
        aws: Aws,
        settings: Settings,
        region: Callable[[], str],
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._aws, self._settings, self._region, self._sleep = aws, settings, region, sleep

    def missing(self) -> Sequence[str]:
        """See `engine.ports.Creating.missing`."""
        found = [] if self._bucket_exists() else [f"bucket {self._settings.bucket} does not exist"]
        if self._settings.table and self._table_status() is None:
            found.append(f"table {self._settings.table} does not exist")
        return found

    def create(self) -> Sequence[str]:
        """See `engine.ports.Creating.create`."""
        made = [] if self._bucket_exists() else [self._make_bucket()]
        if self._settings.table and self._table_status() is None:
            made.append(self._make_table())
        return made

    def policy(self) -> str:
        """The least IAM policy: the document, what stands beside it (`K.*`), and the rows of the table."""
        bucket, key, table = self._settings.bucket, self._settings.key, self._settings.table
        arn = f"arn:aws:s3:::{bucket}"
        statements: list[dict[str, object]] = [
            {"Action": "s3:ListBucket", "Resource": arn},
            {"Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"{arn}/{key}"},
            {
                "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
                "Resource": f"{arn}/{key}.*",
            },
        ]
        if table:
            actions = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem"]
            statements.append(
                {"Action": actions, "Resource": f"arn:aws:dynamodb:*:*:table/{table}"}
            )
        if self._settings.kms_key:
            statements.append(
                {
                    "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                    "Resource": self._settings.kms_key,
                }
            )
        allowed = [{"Effect": "Allow", **statement} for statement in statements]
        return json.dumps({"Version": "2012-10-17", "Statement": allowed}, indent=2)

    def _s3(self) -> Any:
        return self._aws.client(
            "s3", self._region(), self._settings.endpoint, config={"s3": self._settings.addressing}
        )

    def _dynamodb(self) -> Any:
        return self._aws.client("dynamodb", self._region(), self._settings.table_endpoint)

    def _bucket_exists(self) -> bool:
        with self._aws.asking(
            Request("s3:ListBucket", self._settings.location, region=self._region())
        ):
            return _answers(
                lambda: self._s3().head_bucket(Bucket=self._settings.bucket),
                ("404", "NoSuchBucket"),
            )

    def _table_status(self) -> str | None:
        with self._aws.asking(
            Request("dynamodb:DescribeTable", f"lock table {self._settings.table}")
        ):
            found: list[Any] = []
            there = _answers(
                lambda: found.append(
                    self._dynamodb().describe_table(TableName=self._settings.table)
                ),
                ("ResourceNotFoundException",),
            )
            return str(found[0]["Table"]["TableStatus"]) if there else None

    def _make_bucket(self) -> str:
        bucket, region, client = self._settings.bucket, self._region(), self._s3()
        where = (
            {}
            if region == "us-east-1"
            else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        )
        with self._aws.asking(
            Request("s3:CreateBucket", self._settings.location, writes=True, region=region)
        ):
            client.create_bucket(Bucket=bucket, **where)
        done = [word for word, make in self._precautions(client) if self._offered(make)]
        return f"bucket {bucket} in {region}{': ' if done else ''}{', '.join(done)}"

    def _precautions(self, client: Any) -> Sequence[tuple[str, Callable[[], Any]]]:
        """What makes a bucket safe for a state.

        Others' servers may lose conditional writes in a versioned bucket, and one (Ceph 16) refuses every write where public
        ACLs are blocked: there they are only ignored.
        """
        bucket = self._settings.bucket
        kms = self._settings.kms_key
        rule = (
            {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": kms}
            if kms
            else {"SSEAlgorithm": "AES256"}
        )
        closed = ["IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"]
        closed += ["BlockPublicAcls"] if self._settings.amazon else []
        found: list[tuple[str, Callable[[], Any]]] = [
            (
                "public access blocked",
                lambda: client.put_public_access_block(
                    Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(closed, True)
                ),
            ),
            (
                "encrypted",
                lambda: client.put_bucket_encryption(
                    Bucket=bucket,
                    ServerSideEncryptionConfiguration={
                        "Rules": [{"ApplyServerSideEncryptionByDefault": rule}]
                    },
                ),
            ),
        ]
        if self._settings.amazon:
            found.append(
                (
                    "versioned",
                    lambda: client.put_bucket_versioning(
                        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
                    ),
                )
            )
        return found

    def _offered(self, make: Callable[[], Any]) -> bool:
        """Whether the server knows the precaution; Amazon's knows all of them, so there a refusal is an error."""
        with self._aws.asking(Request("s3:PutBucket...", self._settings.location, writes=True)):
            return _answers(make, () if self._settings.amazon else NOT_OFFERED)

    def _make_table(self) -> str:
        table, client = self._settings.table, self._dynamodb()
        with self._aws.asking(Request("dynamodb:CreateTable", f"lock table {table}", writes=True)):
            client.create_table(
                TableName=table,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": "LockID", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "LockID", "KeyType": "HASH"}],
            )
        for _ in range(round(PATIENCE / PAUSE)):
            if self._table_status() == "ACTIVE":
                return f"table {table} in {self._region()}: primary key LockID, paid per request"
            self._sleep(PAUSE)
        raise StoreError(
            f"table {table} was made, but is not ready after {PATIENCE:.0f} s",
            hint="look again later",
        )


def _answers(call: Callable[[], Any], absent: Sequence[str]) -> bool:
    """Whether a call succeeds; False for the codes that mean it is not there."""
    try:
        call()
    except Exception as error:
        if code_of(error) in absent:
            return False
        raise
    return True
