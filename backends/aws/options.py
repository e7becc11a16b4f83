"""Options of a state on S3, all of them checked before any request is sent."""

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
"""Names of buckets that can be part of a host name. Amazon also requires three characters."""
DEFAULT_FLAVOUR_REGION = "us-east-1"


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
            "Bucket; `dtm init --create` creates it if it does not exist.",
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
            "Region of the bucket and the table; default: `AWS_REGION`, `AWS_DEFAULT_REGION`, the "
            "region of the profile, or that of the bucket.",
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
            "DynamoDB table for the lock; its partition key must be `LockID`, a string.",
            example="team-state-lock",
        ),
    ] = ""
    dynamodb_endpoint: Annotated[str, Field("URL of a DynamoDB server that is not Amazon's.")] = ""
    aws_creds_path: Annotated[
        str,
        Field(
            "Path of the AWS credentials file, relative to the config file.",
            aliases=("sharedCredentialsFile",),
        ),
    ] = ""
    profile: Annotated[
        str, Field("Profile of the AWS config and credentials files.", example="team")
    ] = ""
    access_key: Annotated[
        str, Field("ID of an access key; prefer the environment variables.", secret=True)
    ] = ""
    secret_key: Annotated[str, Field("Secret of the access key.", secret=True)] = ""
    token: Annotated[str, Field("Session token of temporary credentials.", secret=True)] = ""
    assume_role: Annotated[AssumeRole | None, Field("Role to assume with these credentials.")] = (
        None
    )
    sts_endpoint: Annotated[
        str, Field("URL of a token service (STS) that is not Amazon's, for `assumeRole`.")
    ] = ""
    encrypt: Annotated[bool, Field("Encrypt with the keys of the server (SSE-S3).")] = False
    kms_key_id: Annotated[str, Field("Encrypt with this KMS key (SSE-KMS).")] = ""
    sse_customer_key: Annotated[
        str,
        Field(
            "Encrypt with this key (SSE-C): 32 bytes in Base64. "
            "Without the key the state cannot be read any more.",
            secret=True,
            env="AWS_SSE_CUSTOMER_KEY",
        ),
    ] = ""
    acl: Annotated[
        str,
        Field("Canned ACL for every object that is written.", example="bucket-owner-full-control"),
    ] = ""
    use_path_style: Annotated[
        bool | None,
        Field(
            "Put the bucket into the path of URLs, not into the host name; "
            "default: true with an `endpoint`, else false."
        ),
    ] = None
    ca_bundle: Annotated[
        str,
        Field(
            "File with the certificates of the trusted authorities.", aliases=("customCABundle",)
        ),
    ] = ""
    timeout: Annotated[
        float, Field("Seconds to wait for a connection, and for each response.", gt=0)
    ] = 10.0
    flavour: Annotated[
        Literal["", "do", "scw", "hos", "linode"],
        Field(
            "Scheme of another S3 provider; endpoint, region and keys then come from "
            "`S3_ENDPOINT`, `S3_REGION`, `S3_ACCESS_KEY_ID` and `S3_SECRET_ACCESS_KEY`."
        ),
    ] = ""


class S3Settings(msgspec.Struct, frozen=True):
    """The options in the form that the store uses.

    `region` is "" if no option and no variable names one. `reading` and `writing` are the
    parameters of every request that reads or writes an object.
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
    def is_amazon(self) -> bool:
        """True if the bucket is on Amazon's own servers."""
        return not self.endpoint


def read_settings(
    options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]
) -> S3Settings:
    """Decode the options, and take missing ones from environment variables.

    Raises ConfigError with every problem.
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
        _credentials_from(found, base_dir),
        found.region,
        found.endpoint,
        found.dynamodb_table,
        found.dynamodb_endpoint,
        found.kms_key_id,
        _addressing(found),
        _encryption_key(found),
        _write_parameters(found),
    )


def _from_environment(found: S3Options, env: Mapping[str, str]) -> S3Options:
    """Fill in missing options from their environment variables."""
    # With a flavour the AWS_* variables do not count: they belong to an account at Amazon.
    if found.flavour:
        endpoint = found.endpoint or env.get("S3_ENDPOINT", "")
        return msgspec.structs.replace(
            found,
            # This variable usually holds a bare host name without a scheme.
            endpoint=endpoint if "://" in endpoint or not endpoint else f"https://{endpoint}",
            region=found.region or env.get("S3_REGION") or DEFAULT_FLAVOUR_REGION,
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
    """Yield the problems; `Problem.where` is the name of the option."""
    # Servers that are not Amazon's accept more bucket names.
    at_amazon = not found.endpoint and not found.use_path_style
    if found.bucket and at_amazon and not BUCKET.fullmatch(found.bucket):
        yield Problem(
            "bucket",
            f'"{found.bucket}" is not a valid bucket name',
            "use 3 to 63 lower-case letters, digits, - and .",
        )
    if not is_path(found.key):
        yield Problem(
            "key",
            f'key "{found.key}" must not begin or end with "/", '
            'or contain "//" or a part "." or ".."',
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
            yield Problem(name, f"{name}: the file {_path(text, base_dir)} does not exist")
    yield from _contradiction_problems(found)
    yield from _credential_problems(found)
    if found.flavour:
        yield from _flavour_problems(found)


def _contradiction_problems(found: S3Options) -> Iterator[Problem]:
    if found.dynamodb_endpoint and not found.dynamodb_table:
        yield Problem(
            "dynamodbEndpoint",
            "dynamodbEndpoint has no effect without dynamodbTable",
            "set dynamodbTable, or remove dynamodbEndpoint",
        )
    if found.sts_endpoint and not found.assume_role:
        yield Problem(
            "stsEndpoint",
            "stsEndpoint has no effect without assumeRole",
            "set assumeRole, or remove stsEndpoint",
        )
    if found.sse_customer_key and (found.kms_key_id or found.encrypt):
        yield Problem(
            "sseCustomerKey",
            "sseCustomerKey cannot be combined with kmsKeyId or encrypt",
            "keep one of them",
        )
    if found.sse_customer_key and not _is_valid_key(found.sse_customer_key):
        yield Problem(
            "sseCustomerKey",
            "sseCustomerKey must be 32 bytes in Base64",
            "create one with openssl rand -base64 32",
        )


def _credential_problems(found: S3Options) -> Iterator[Problem]:
    # A flavour has its own checks, which name its variables.
    if found.flavour:
        return
    if bool(found.access_key) != bool(found.secret_key):
        missing = "secretKey" if found.access_key else "accessKey"
        yield Problem(missing, f"{missing} is missing", "set both accessKey and secretKey")
    if found.token and not found.access_key:
        yield Problem("token", "token has no effect without accessKey and secretKey")
    if found.access_key and (found.profile or found.aws_creds_path):
        yield Problem(
            "accessKey",
            "accessKey cannot be combined with profile or awsCredsPath",
            "keep one source of credentials",
        )


def _flavour_problems(found: S3Options) -> Iterator[Problem]:
    url = f"{found.flavour}://{found.bucket}/{found.key}"
    for name, value, variable in (
        ("endpoint", found.endpoint, "S3_ENDPOINT"),
        ("accessKey", found.access_key, "S3_ACCESS_KEY_ID"),
        ("secretKey", found.secret_key, "S3_SECRET_ACCESS_KEY"),
    ):
        if not value:
            yield Problem(name, f"{url}: {variable} is not set", f"set {variable} or option {name}")


def _is_valid_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 32
    except (ValueError, binascii.Error):
        return False


def _credentials_from(found: S3Options, base_dir: Path) -> AwsCredentials:
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
    """Return botocore's name of the addressing style."""
    if found.use_path_style is None:
        # Servers that are not Amazon's often have no DNS names for buckets.
        return "path" if found.endpoint else "auto"
    return "path" if found.use_path_style else "virtual"


def _encryption_key(found: S3Options) -> Mapping[str, Any]:
    if not found.sse_customer_key:
        return {}
    return {
        "SSECustomerAlgorithm": "AES256",
        "SSECustomerKey": base64.b64decode(found.sse_customer_key),
    }


def _write_parameters(found: S3Options) -> Mapping[str, Any]:
    fields: dict[str, Any] = dict(_encryption_key(found))
    if found.kms_key_id:
        fields |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": found.kms_key_id}
    elif found.encrypt:
        fields["ServerSideEncryption"] = "AES256"
    if found.acl:
        fields["ACL"] = found.acl
    return fields
