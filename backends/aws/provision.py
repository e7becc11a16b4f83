"""Creation of the bucket and the lock table of a state on S3, and the IAM policy for their use."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from backends.aws.errors import AwsRequest, answer_or_none
from backends.aws.options import S3Settings
from backends.aws.session import AwsAccount
from engine.errors import StoreError

UNSUPPORTED_CODES: Final = (
    "NotImplemented",
    "MethodNotAllowed",
    "UnsupportedOperation",
    "MalformedXML",
    "InvalidArgument",
    "405",
    "501",
)
POLL_INTERVAL, TABLE_TIMEOUT = 0.5, 60.0
"""Seconds between two checks of a table that is being created, and before dtm gives up."""


class S3Provisioner:
    """`engine.ports.Provisioner` for a bucket and, if the options name one, a lock table."""

    def __init__(
        self,
        aws: AwsAccount,
        settings: S3Settings,
        region: Callable[[], str],
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._aws, self._settings, self._region, self._sleep = aws, settings, region, sleep

    def missing(self) -> Sequence[str]:
        """See `engine.ports.Provisioner.missing`."""
        found = [] if self._bucket_exists() else [f"bucket {self._settings.bucket} does not exist"]
        if self._settings.table and self._table_status() is None:
            found.append(f"table {self._settings.table} does not exist")
        return found

    def create(self) -> Sequence[str]:
        """See `engine.ports.Provisioner.create`."""
        created = [] if self._bucket_exists() else [self._create_bucket()]
        if self._settings.table and self._table_status() is None:
            created.append(self._create_table())
        return created

    def policy(self) -> str:
        """See `engine.ports.Provisioner.policy`. Return the smallest IAM policy that dtm needs.

        It covers the state file (`KEY`), the objects next to it (`KEY.*`), and the table's rows.
        """
        bucket, key, table = self._settings.bucket, self._settings.key, self._settings.table
        arn = f"arn:aws:s3:::{bucket}"
        statements: list[dict[str, object]] = [
            {"Action": "s3:ListBucket", "Resource": arn},
            # No s3:DeleteObject: dtm replaces the state file, but never deletes it.
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
        # S3 uses the KMS key for each read and write, with the permissions of the caller.
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
        settings = self._settings
        return self._aws.client("s3", self._region(), settings.endpoint, settings.addressing)

    def _dynamodb(self) -> Any:
        return self._aws.client("dynamodb", self._region(), self._settings.table_endpoint)

    def _bucket_exists(self) -> bool:
        request = AwsRequest("s3:ListBucket", self._settings.location, region=self._region())
        with self._aws.mapped_errors(request):
            head = partial(self._s3().head_bucket, Bucket=self._settings.bucket)
            return answer_or_none(head, ("404", "NoSuchBucket")) is not None

    def _table_status(self) -> str | None:
        table = self._settings.table
        with self._aws.mapped_errors(AwsRequest("dynamodb:DescribeTable", f"lock table {table}")):
            describe = partial(self._dynamodb().describe_table, TableName=table)
            found = answer_or_none(describe, ("ResourceNotFoundException",))
            return str(found["Table"]["TableStatus"]) if found else None

    def _create_bucket(self) -> str:
        bucket, region, client = self._settings.bucket, self._region(), self._s3()
        # Amazon refuses us-east-1 as a location constraint: it is the default.
        where = (
            {}
            if region == "us-east-1"
            else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        )
        with self._aws.mapped_errors(
            AwsRequest("s3:CreateBucket", self._settings.location, writes=True, region=region)
        ):
            client.create_bucket(Bucket=bucket, **where)
        done = [
            word for word, setting in self._bucket_settings(client) if self._apply_setting(setting)
        ]
        return f"bucket {bucket} in {region}{': ' if done else ''}{', '.join(done)}"

    def _bucket_settings(self, client: Any) -> Sequence[tuple[str, Callable[..., Any]]]:
        """Return the settings that protect a state, each with the call that applies it."""
        # Two settings are for Amazon. Other servers may ignore conditions in a versioned bucket
        # (Ceph 16 does), so the bucket is not versioned there. Ceph 16 refuses every write if
        # public ACLs are blocked, so there they are ignored, but not blocked.
        kms, amazon = self._settings.kms_key, self._settings.is_amazon
        rule = (
            {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": kms}
            if kms
            else {"SSEAlgorithm": "AES256"}
        )
        closed = ["IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"]
        closed += ["BlockPublicAcls"] if amazon else []
        set_access = partial(
            client.put_public_access_block,
            PublicAccessBlockConfiguration=dict.fromkeys(closed, True),
        )
        set_encryption = partial(
            client.put_bucket_encryption,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": rule}]
            },
        )
        set_versioning = partial(
            client.put_bucket_versioning, VersioningConfiguration={"Status": "Enabled"}
        )
        found = [("public access blocked", set_access), ("encrypted", set_encryption)]
        return [*found, ("versioned", set_versioning)] if amazon else found

    def _apply_setting(self, setting: Callable[..., Any]) -> bool:
        """Apply a setting; return False if a server other than Amazon's does not support it."""
        settings = self._settings
        with self._aws.mapped_errors(AwsRequest("s3:PutBucket...", settings.location, writes=True)):
            absent = () if settings.is_amazon else UNSUPPORTED_CODES
            return answer_or_none(partial(setting, Bucket=settings.bucket), absent) is not None

    def _create_table(self) -> str:
        table, client = self._settings.table, self._dynamodb()
        with self._aws.mapped_errors(
            AwsRequest("dynamodb:CreateTable", f"lock table {table}", writes=True)
        ):
            client.create_table(
                TableName=table,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": "LockID", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "LockID", "KeyType": "HASH"}],
            )
        for _ in range(round(TABLE_TIMEOUT / POLL_INTERVAL)):
            if self._table_status() == "ACTIVE":
                return f"table {table} in {self._region()}: primary key LockID, paid per request"
            self._sleep(POLL_INTERVAL)
        raise StoreError(
            f"table {table} was created, but is not ready after {TABLE_TIMEOUT:.0f} s",
            hint="wait a minute, then run dtm init --create again",
        )
