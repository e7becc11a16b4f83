"""Options of a state on S3, checked in full before any request is sent."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from backends.aws.session import AwsCredentials, Role
from backends.keys import is_path
from engine.errors import ConfigError, Problem
from engine.schema import Field, Options
from engine.values import Value, reveal

BUCKET: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
"""The beginning of a host name; Amazon also asks for three characters."""
FLAVOUR_REGION = "us-east-1"


class AssumeRole(Options, frozen=True, kw_only=True):
    """A role that is assumed for every request to the state."""

    role_arn: Annotated[
        str,
        Field("ARN of the role.", example="arn:aws:iam::123456789012:role/state", pattern="^arn:"),
    ]
    external_id: Annotated[str, Field("External ID that the role's trust policy asks for.")] = ""
    session_name: Annotated[
        str, Field("Name of the session, as CloudTrail shows it.", min_length=2)
    ] = "dtm"
    duration_seconds: Annotated[
        int, Field("Seconds that the credentials last.", ge=900, le=43200)
    ] = 3600


class S3Options(Options, frozen=True, kw_only=True):
    """Options of `backend: s3`."""

    bucket: Annotated[
        str,
        Field(
            "Bucket; it must exist, `dtm init --create` makes it.",
            example="team-state",
            min_length=1,
        ),
    ]
    key: Annotated[
        str, Field("Key of the state in the bucket.", example="prod/devstream.state", min_length=1)
    ]
    region: Annotated[
        str,
        Field(
            "Region of bucket and table; else `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's, "
            "or what the bucket says.",
            example="eu-west-1",
        ),
    ] = ""
    endpoint: Annotated[
        str,
        Field(
            "URL of a server that is not Amazon's.", example="https://fra1.digitaloceanspaces.com"
        ),
    ] = ""
    dynamodb_table: Annotated[
        str,
        Field(
            "DynamoDB table for the lock; its primary key must be `LockID`, a string.",
            example="team-state-lock",
        ),
    ] = ""
    dynamodb_endpoint: Annotated[str, Field("URL of a DynamoDB that is not Amazon's.")] = ""
    aws_creds_path: Annotated[
        str,
        Field(
            "Path of the AWS credentials file, relative to the base directory.",
            aliases=("sharedCredentialsFile",),
        ),
    ] = ""
    profile: Annotated[
        str, Field("Profile of the AWS config and credentials files.", example="team")
    ] = ""
    access_key: Annotated[
        str, Field("ID of an access key; best left to the environment.", secret=True)
    ] = ""
    secret_key: Annotated[str, Field("Its secret.", secret=True)] = ""
    token: Annotated[str, Field("Session token of temporary credentials.", secret=True)] = ""
    assume_role: Annotated[AssumeRole | None, Field("A role to assume with those credentials.")] = (
        None
    )
    sts_endpoint: Annotated[
        str, Field("URL of a token service that is not Amazon's, for `assumeRole`.")
    ] = ""
    encrypt: Annotated[bool, Field("Ask for encryption with the bucket's own keys (SSE-S3).")] = (
        False
    )
    kms_key_id: Annotated[str, Field("Encrypt with this KMS key (SSE-KMS).")] = ""
    sse_customer_key: Annotated[
        str,
        Field(
            "Encrypt with this key (SSE-C): 32 bytes in Base64. "
            "Whoever loses it has lost the state.",
            secret=True,
            env="AWS_SSE_CUSTOMER_KEY",
        ),
    ] = ""
    acl: Annotated[
        str, Field("Canned ACL of every object written.", example="bucket-owner-full-control")
    ] = ""
    use_path_style: Annotated[
        bool | None,
        Field(
            "The bucket in the URL's path, not in its host name; "
            "by default only with an `endpoint`."
        ),
    ] = None
    ca_bundle: Annotated[
        str,
        Field(
            "File with the certificates of the authorities to trust.", aliases=("customCABundle",)
        ),
    ] = ""
    timeout: Annotated[
        float, Field("Seconds to wait for a connection, and for each answer.", gt=0)
    ] = 10.0
    flavour: Annotated[
        Literal["", "do", "scw", "hos", "linode"],
        Field(
            "Whose S3 it is, from the scheme of a URL: takes endpoint, region and keys from "
            "`S3_ENDPOINT`, `S3_REGION`, `S3_ACCESS_KEY_ID` and `S3_SECRET_ACCESS_KEY`."
        ),
    ] = ""


class S3Settings(msgspec.Struct, frozen=True):
    """The options as the store uses them.

    `region` is "" where no option names one. `reading` and `writing` are the parameters that every
    such request carries.
    """

    bucket: str
    key: str
    location: str
    access: AwsCredentials
    region: str = ""
    endpoint: str = ""
    table: str = ""
    table_endpoint: str = ""
    kms_key: str = ""
    addressing: str = ""
    reading: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    writing: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])

    @property
    def amazon(self) -> bool:
        """True for Amazon's own servers."""
        return not self.endpoint


def read_settings(
    options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]
) -> S3Settings:
    """Decode the options, and fill in what the variables named here say.

    Raises ConfigError with everything that is wrong.
    """
    try:
        found = msgspec.convert({name: reveal(value) for name, value in options.items()}, S3Options)
    except msgspec.ValidationError as error:
        raise ConfigError((Problem("", f"state: {error}"),)) from None
    found = _from_environment(found, env)
    if problems := tuple(_problems(found, base_dir)):
        raise ConfigError(problems)
    return S3Settings(
        found.bucket,
        found.key,
        f"{found.flavour or 's3'}://{found.bucket}",
        _access(found, base_dir),
        found.region,
        found.endpoint,
        found.dynamodb_table,
        found.dynamodb_endpoint,
        found.kms_key_id,
        _addressing(found),
        _customer_key(found),
        _writing(found),
    )


def _from_environment(found: S3Options, env: Mapping[str, str]) -> S3Options:
    """Fill the options that are not given from their variables."""
    if found.flavour:
        endpoint = found.endpoint or env.get("S3_ENDPOINT", "")
        return msgspec.structs.replace(
            found,
            # This variable usually holds a bare host name.
            endpoint=endpoint if "://" in endpoint or not endpoint else f"https://{endpoint}",
            region=found.region or env.get("S3_REGION") or FLAVOUR_REGION,
            access_key=found.access_key or env.get("S3_ACCESS_KEY_ID", ""),
            secret_key=found.secret_key or env.get("S3_SECRET_ACCESS_KEY", ""),
        )
    common = env.get("AWS_ENDPOINT_URL", "")
    return msgspec.structs.replace(
        found,
        endpoint=found.endpoint or env.get("AWS_ENDPOINT_URL_S3") or common,
        dynamodb_endpoint=found.dynamodb_endpoint
        or (found.dynamodb_table and (env.get("AWS_ENDPOINT_URL_DYNAMODB") or common)),
        region=found.region or env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "",
        sse_customer_key=found.sse_customer_key or env.get("AWS_SSE_CUSTOMER_KEY", ""),
    )


def _problems(found: S3Options, base_dir: Path) -> Iterator[Problem]:
    """Yield the problems, each with its option in the place of a file."""
    # Servers that are not Amazon's accept more names.
    at_amazon = not found.endpoint and not found.use_path_style
    if found.bucket and at_amazon and not BUCKET.fullmatch(found.bucket):
        yield Problem(
            "bucket",
            f'"{found.bucket}" is no name of a bucket',
            "3 to 63 lower case letters, digits, - and .",
        )
    if not is_path(found.key):
        yield Problem(
            "key",
            f'key "{found.key}" must not begin or end with "/" '
            'nor hold "//", "." or ".." as a part',
        )
    for name, url in (
        ("endpoint", found.endpoint),
        ("dynamodbEndpoint", found.dynamodb_endpoint),
        ("stsEndpoint", found.sts_endpoint),
    ):
        if url and not re.fullmatch(r"https?://[^/\s@]+(/\S*)?", url):
            yield Problem(name, f"{name} must be a URL without credentials: https://host[:port]")
    for name, text in (("awsCredsPath", found.aws_creds_path), ("caBundle", found.ca_bundle)):
        if text and not _path(text, base_dir).is_file():
            yield Problem(name, f"{name}: there is no file {_path(text, base_dir)}")
    yield from _contradictions(found)
    yield from _keys(found)
    if found.flavour:
        yield from _flavoured(found)


def _contradictions(found: S3Options) -> Iterator[Problem]:
    if found.dynamodb_endpoint and not found.dynamodb_table:
        yield Problem(
            "dynamodbEndpoint",
            "dynamodbEndpoint means nothing without dynamodbTable",
            "name the table, or leave it out",
        )
    if found.sts_endpoint and not found.assume_role:
        yield Problem(
            "stsEndpoint",
            "stsEndpoint means nothing without assumeRole",
            "name the role, or leave it out",
        )
    if found.sse_customer_key and (found.kms_key_id or found.encrypt):
        yield Problem(
            "sseCustomerKey",
            "sseCustomerKey excludes kmsKeyId and encrypt",
            "choose one way to encrypt",
        )
    if found.sse_customer_key and not _is_key(found.sse_customer_key):
        yield Problem(
            "sseCustomerKey",
            "sseCustomerKey must be 32 bytes in Base64",
            "make one: openssl rand -base64 32",
        )


def _keys(found: S3Options) -> Iterator[Problem]:
    if found.flavour:
        return
    if bool(found.access_key) != bool(found.secret_key):
        missing = "secretKey" if found.access_key else "accessKey"
        yield Problem(missing, f"{missing} is missing: accessKey and secretKey go together")
    if found.token and not found.access_key:
        yield Problem("token", "token means nothing without accessKey and secretKey")
    if found.access_key and (found.profile or found.aws_creds_path):
        yield Problem(
            "accessKey",
            "accessKey excludes profile and awsCredsPath",
            "choose where the credentials come from",
        )


def _flavoured(found: S3Options) -> Iterator[Problem]:
    url = f"{found.flavour}://{found.bucket}/{found.key}"
    for name, value, variable in (
        ("endpoint", found.endpoint, "S3_ENDPOINT"),
        ("accessKey", found.access_key, "S3_ACCESS_KEY_ID"),
        ("secretKey", found.secret_key, "S3_SECRET_ACCESS_KEY"),
    ):
        if not value:
            yield Problem(name, f"{url}: {variable} is not set", f"set it, or option {name}")


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 32
    except (ValueError, binascii.Error):
        return False


def _access(found: S3Options, base_dir: Path) -> AwsCredentials:
    role = found.assume_role
    return AwsCredentials(
        found.profile,
        _path(found.aws_creds_path, base_dir) if found.aws_creds_path else None,
        found.access_key,
        found.secret_key,
        found.token,
        Role(
            role.role_arn,
            role.external_id,
            role.session_name,
            role.duration_seconds,
            found.sts_endpoint,
        )
        if role
        else None,
        _path(found.ca_bundle, base_dir) if found.ca_bundle else None,
        found.timeout,
    )


def _path(text: str, base_dir: Path) -> Path:
    return base_dir / Path(text).expanduser()


def _addressing(found: S3Options) -> str:
    """Return botocore's addressing style."""
    if found.use_path_style is None:
        # Servers that are not Amazon's often have no DNS names for buckets.
        return "path" if found.endpoint else "auto"
    return "path" if found.use_path_style else "virtual"


def _customer_key(found: S3Options) -> Mapping[str, Any]:
    if not found.sse_customer_key:
        return {}
    return {
        "SSECustomerAlgorithm": "AES256",
        "SSECustomerKey": base64.b64decode(found.sse_customer_key),
    }


def _writing(found: S3Options) -> Mapping[str, Any]:
    fields: dict[str, Any] = dict(_customer_key(found))
    if found.kms_key_id:
        fields |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": found.kms_key_id}
    elif found.encrypt:
        fields["ServerSideEncryption"] = "AES256"
    if found.acl:
        fields["ACL"] = found.acl
    return fields
