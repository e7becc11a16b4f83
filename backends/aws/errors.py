"""Mapping of botocore's errors to those of `engine.errors`, for S3, DynamoDB and STS.

The mapping is valid for Amazon's servers and for other servers with the same protocol. An error
becomes one of four kinds: access denied (StoreAccessError), certainly without effect
(StoreUnavailableError), outcome unknown (OutcomeUnknownError), or any other (StoreError).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from engine.errors import (
    DtmError,
    OutcomeUnknownError,
    StoreAccessError,
    StoreError,
    StoreUnavailableError,
)

EXPIRED_CODES = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired")
CLOCK_CODES = ("RequestTimeTooSkewed", "RequestInTheFuture")
UNKNOWN_KEY_CODES = (
    "InvalidAccessKeyId",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidToken",
)
WRONG_SECRET_CODES = ("SignatureDoesNotMatch", "InvalidSignatureException")
WRONG_REGION_CODES = (
    "PermanentRedirect",
    "TemporaryRedirect",
    "Redirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "301",
    "307",
)
NOT_FOUND_CODES = ("NoSuchBucket", "ResourceNotFoundException")
DENIED_CODES = ("AccessDeniedException", "AccountProblem", "AllAccessDisabled", "NotSignedUp")
NO_EFFECT_CODES = (
    "SlowDown",
    "RequestTimeout",
    "BadDigest",
    "IncompleteBody",
    "XAmzContentChecksumMismatch",
    "OperationAborted",
    "ConditionalRequestConflict",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequests",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "ProvisionedThroughputExceededException",
    "RequestThrottled",
    "TransactionConflictException",
    "ReplicatedWriteConflictException",
)
"""Codes of refusals that had no effect, so that another attempt may succeed.

A bare 500 or 503 is not among them: a server may answer so after the write had its effect.
"""
UNKNOWN_REGION = "another region"
NO_CREDENTIALS_HINT = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile with option profile"
)


class AwsRequest(msgspec.Struct, frozen=True):
    """A request to a service, described for messages.

    `action` is its name in an IAM policy (`s3:PutObject`). `place` names the object as the user
    wrote it (`s3://bucket/key`). `writes` is True if the request can have an effect.
    """

    action: str
    place: str
    arn: str = ""
    writes: bool = False
    region: str = ""


def response_of(error: Exception) -> dict[str, Any]:
    """Return the response that a botocore error carries, {} if the server sent none."""
    return cast("dict[str, Any]", getattr(error, "response", None) or {})


def error_code(error: Exception) -> str:
    """Return the error code of the response, "" if there is none."""
    return str(response_of(error).get("Error", {}).get("Code", ""))


def answer_or_none(call: Callable[[], Any], absent: Sequence[str]) -> Any:
    """Return the result of the call, or None if it fails with an error code of `absent`."""
    try:
        return call()
    except Exception as error:
        if error_code(error) in absent:
            return None
        raise


def map_error(
    error: Exception, request: AwsRequest, identity: Callable[[], str]
) -> DtmError | None:
    """Map an error of botocore to one of `engine.errors`; return None for any other error.

    `identity` describes the credentials in use. It is called only if the message needs it.
    """
    exceptions = import_module("botocore.exceptions")
    if isinstance(error, exceptions.ClientError):
        return _map_response(error, request, identity)
    if isinstance(error, exceptions.BotoCoreError):
        return _map_no_response(error, exceptions, request)
    # botocore raises a ValueError for a malformed endpoint, bucket or region.
    if isinstance(error, ValueError):
        return StoreError(f"{request.place}: {error}")
    return None


def _map_response(error: Any, request: AwsRequest, identity: Callable[[], str]) -> DtmError:
    """Map an error response of a server."""
    answer = response_of(error)
    details, metadata = answer.get("Error", {}), answer.get("ResponseMetadata", {})
    code, status = error_code(error), int(metadata.get("HTTPStatusCode") or 0)
    # The role could not be assumed, so the request itself was never sent.
    if error.operation_name.startswith("AssumeRole"):
        return _role_error(
            f"{request.place}: the role cannot be assumed: {code}: {details.get('Message', '')}",
            status,
        )
    # Examine the code before the status: a 403 also means a wrong clock, key or region, and each of
    # these has its own remedy.
    known = _map_known_code(code, details, metadata.get("HTTPHeaders", {}), request, identity)
    if known:
        return known
    reason = details.get("Message") or "no reason given"
    text = f"{request.place}: {request.action} failed with {code or status}: {reason}"
    if status in (401, 403) or code in DENIED_CODES:
        return StoreAccessError(
            f"{request.place}: {request.action} is denied to {identity()} ({code})",
            hint=f"allow {request.action} on {request.arn} in the IAM policy"
            if request.arn
            else "",
        )
    # Before the test for 5xx: these codes guarantee that there was no effect, so that the write can
    # be repeated. After an unknown outcome, dtm would have to read the object first.
    if code in NO_EFFECT_CODES or status == 429:
        return StoreUnavailableError(text)
    if status >= 500:
        return _no_answer_error(text, request)
    return StoreError(text)


def _map_known_code(
    code: str,
    details: dict[str, Any],
    headers: dict[str, str],
    request: AwsRequest,
    identity: Callable[[], str],
) -> DtmError | None:
    """Map the error codes whose cause and remedy are known; return None for others."""
    place = request.place
    if code in EXPIRED_CODES:
        return StoreAccessError(
            f"{place}: the credentials have expired: {identity()}",
            hint="log in again, then repeat the command",
        )
    if code in CLOCK_CODES or (code in WRONG_SECRET_CODES and _is_about_time(details)):
        return StoreAccessError(
            f"{place}: this machine's clock is wrong: {_describe_clocks(details, headers)}",
            hint="synchronize the clock of this machine (NTP)",
        )
    if code in UNKNOWN_KEY_CODES:
        return StoreAccessError(
            f"{place}: the server does not know these credentials: {identity()} ({code})",
            hint="check that they belong to this account and this endpoint",
        )
    if code in WRONG_SECRET_CODES:
        return StoreAccessError(
            f"{place}: the secret key does not match the access key: {identity()} ({code})",
            hint="set the secret key again where the credentials come from",
        )
    if code in WRONG_REGION_CODES:
        region = headers.get("x-amz-bucket-region") or details.get("Region") or UNKNOWN_REGION
        return StoreAccessError(
            f"{place}: the bucket is in {region}, not in {request.region or 'the given region'}",
            hint=f"set option region to {region}"
            if region != UNKNOWN_REGION
            else "set option region",
        )
    if code in NOT_FOUND_CODES:
        what = "bucket" if code == "NoSuchBucket" else "table"
        inside = f" in region {request.region}" if what == "table" and request.region else ""
        return StoreAccessError(
            f"{place}: the {what} does not exist{inside}", hint="create it with dtm init --create"
        )
    return None


def _is_about_time(details: dict[str, Any]) -> bool:
    message = str(details.get("Message", ""))
    return "Signature expired" in message or "Signature not yet current" in message


def _describe_clocks(details: dict[str, Any], headers: dict[str, str]) -> str:
    server_time = details.get("ServerTime") or headers.get("date")
    return f"the server's says {server_time}" if server_time else str(details.get("Message", ""))


def _role_error(text: str, status: int) -> DtmError:
    return (
        StoreUnavailableError(text)
        if status >= 500
        else StoreAccessError(text, hint="allow these credentials in the role's trust policy")
    )


def _map_no_response(error: Any, exceptions: Any, request: AwsRequest) -> DtmError:
    """Map an error without a response: none came back, or no request was sent."""
    place = request.place
    if isinstance(error, exceptions.NoCredentialsError):
        return StoreAccessError(f"{place}: no AWS credentials were found", hint=NO_CREDENTIALS_HINT)
    if isinstance(error, exceptions.ProfileNotFound):
        return StoreAccessError(
            f"{place}: there is no AWS profile {error.kwargs['profile']}",
            hint="set option profile or AWS_PROFILE to a profile of ~/.aws/config "
            "(AWS_CONFIG_FILE) or ~/.aws/credentials",
        )
    if isinstance(error, _credential_errors(exceptions)):
        return StoreAccessError(f"{place}: {error}", hint="log in again, or name another profile")
    if isinstance(error, exceptions.SSLError):
        return _tls_error(error, request)
    if isinstance(
        error,
        exceptions.EndpointConnectionError
        | exceptions.ConnectTimeoutError
        | exceptions.ProxyConnectionError,
    ):
        return StoreUnavailableError(
            f"{place}: {_describe_unreachable(error)}", hint="check the endpoint and the network"
        )
    if isinstance(
        error,
        exceptions.HTTPClientError | exceptions.IncompleteReadError | exceptions.ReadTimeoutError,
    ):
        return _no_answer_error(
            f"{place}: {request.action} got no answer: {_reason_of(error)}", request
        )
    return StoreError(f"{place}: {error}")


def _credential_errors(exceptions: Any) -> tuple[type[Exception], ...]:
    return (
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
        exceptions.TokenRetrievalError,
        exceptions.NoAuthTokenError,
        exceptions.ConfigParseError,
        exceptions.ConfigNotFound,
        exceptions.SSOError,
        exceptions.MetadataRetrievalError,
        exceptions.InvalidConfigError,
        exceptions.RefreshWithMFAUnsupportedError,
        exceptions.UnknownCredentialError,
    )


def _tls_error(error: Any, request: AwsRequest) -> DtmError:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return StoreError(
            f"{request.place}: the certificate of {_host_of(error)} is not trusted",
            hint="name the certificate of its authority with option caBundle or AWS_CA_BUNDLE",
        )
    return _no_answer_error(
        f"{request.place}: the TLS connection failed: {_reason_of(error)}", request
    )


def _describe_unreachable(error: Any) -> str:
    """Describe which host could not be reached, and why."""
    cause = error.kwargs.get("error")
    if "NameResolution" in type(cause).__name__:
        host = urlsplit(str(error.kwargs.get("endpoint_url", ""))).hostname
        return f"the host name {host} cannot be resolved"
    return f"cannot connect to {_host_of(error)}: {_reason_of(error)}"


def _host_of(error: Any) -> str:
    found = urlsplit(str(error.kwargs.get("endpoint_url") or error.kwargs.get("proxy_url") or ""))
    return f"{found.scheme}://{found.netloc.rpartition('@')[2]}"


def _reason_of(error: Any) -> str:
    cause = error.kwargs.get("error") or error
    system = cause.__cause__
    if isinstance(system, OSError) and system.strerror:
        return system.strerror
    if "Timeout" in type(error).__name__:
        return "timed out"
    # The SDK nests the reprs of its causes; the innermost text is the reason.
    text = str(cause).rpartition(": ")[2].rstrip("\"')>")
    return re.sub(r"^\[Errno \d+\] ", "", text)


def _no_answer_error(text: str, request: AwsRequest) -> DtmError:
    """Return the error of a request that may have been executed: a read never has an effect."""
    return OutcomeUnknownError(text) if request.writes else StoreUnavailableError(text)
