"""Mapping of botocore's errors: access denied, certainly without effect, or outcome unknown.

It holds for Amazon's servers and for those that speak their protocol.
"""

from __future__ import annotations

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

EXPIRED = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired")
SKEWED = ("RequestTimeTooSkewed", "RequestInTheFuture")
UNKNOWN_KEY = (
    "InvalidAccessKeyId",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidToken",
)
WRONG_SECRET = ("SignatureDoesNotMatch", "InvalidSignatureException")
ELSEWHERE = (
    "PermanentRedirect",
    "TemporaryRedirect",
    "Redirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "301",
    "307",
)
MISSING = ("NoSuchBucket", "ResourceNotFoundException")
DENIED = ("AccessDeniedException", "AccountProblem", "AllAccessDisabled", "NotSignedUp")
HARMLESS = (
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
"""Codes of refusals before any effect, worth another try.

A bare 500 or 503 is not among them: it may come after the effect.
"""
NO_CREDENTIALS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile with credentials"
)


class AwsRequest(msgspec.Struct, frozen=True):
    """A request to a service, as messages name it.

    `action` is its name in a policy (`s3:PutObject`), `place` the object in the user's words.
    """

    action: str
    place: str
    arn: str = ""
    writes: bool = False
    region: str = ""


def response_of(error: Exception) -> dict[str, Any]:
    """Return the answer that an error of botocore carries, {} if the server gave none."""
    return cast("dict[str, Any]", getattr(error, "response", None) or {})


def error_code(error: Exception) -> str:
    """Return the code of that answer, "" if there is none."""
    return str(response_of(error).get("Error", {}).get("Code", ""))


def answer_or_none(call: Callable[[], Any], absent: Sequence[str]) -> Any:
    """Return what the call answers, None if it is refused with a code of `absent`."""
    try:
        return call()
    except Exception as error:
        if error_code(error) in absent:
            return None
        raise


def map_error(
    error: Exception, request: AwsRequest, identity: Callable[[], str]
) -> DtmError | None:
    """Map an error of botocore to one of `engine.errors`; None for any other error.

    `identity` describes the credentials in use; it is called only where the message needs it.
    """
    exceptions = import_module("botocore.exceptions")
    if isinstance(error, exceptions.ClientError):
        return _answered(error, request, identity)
    if isinstance(error, exceptions.BotoCoreError):
        return _unanswered(error, exceptions, request)
    # botocore refuses a malformed endpoint, bucket or region with a ValueError.
    if isinstance(error, ValueError):
        return StoreError(f"{request.place}: {error}")
    return None


def _answered(error: Any, request: AwsRequest, identity: Callable[[], str]) -> DtmError:
    """Map a refusal that a server sent."""
    answer = response_of(error)
    details, metadata = answer.get("Error", {}), answer.get("ResponseMetadata", {})
    code, status = error_code(error), int(metadata.get("HTTPStatusCode") or 0)
    # Refused while credentials were obtained: the request itself was never sent.
    if error.operation_name.startswith("AssumeRole"):
        return _not_assumed(
            f"{request.place}: the role cannot be assumed: {code}: {details.get('Message', '')}",
            status,
        )
    # Before the status: a 403 also means a wrong clock, key or region, each with its own remedy.
    known = _known(code, details, metadata.get("HTTPHeaders", {}), request, identity)
    if known:
        return known
    reason = details.get("Message") or "no reason given"
    text = f"{request.place}: {request.action} answered {code or status}: {reason}"
    if status in (401, 403) or code in DENIED:
        return StoreAccessError(
            f"{request.place}: {request.action} is denied to {identity()} ({code})",
            hint=f"allow {request.action} on {request.arn}" if request.arn else "",
        )
    if code in HARMLESS or status == 429:
        return StoreUnavailableError(text)
    if status >= 500:
        return _without_answer(text, request)
    return StoreError(text)


def _known(
    code: str,
    details: dict[str, Any],
    headers: dict[str, str],
    request: AwsRequest,
    identity: Callable[[], str],
) -> DtmError | None:
    """Map the refusals whose cause and remedy are known, None for others."""
    place = request.place
    if code in EXPIRED:
        return StoreAccessError(
            f"{place}: the credentials have expired: {identity()}", hint="log in again, then repeat"
        )
    if code in SKEWED or (code in WRONG_SECRET and _is_about_time(details)):
        return StoreAccessError(
            f"{place}: this machine's clock is wrong: {_clocks(details, headers)}",
            hint="set the clock (NTP)",
        )
    if code in UNKNOWN_KEY:
        return StoreAccessError(
            f"{place}: unknown credentials: {identity()} ({code})",
            hint="another account or endpoint?",
        )
    if code in WRONG_SECRET:
        return StoreAccessError(
            f"{place}: the secret key does not fit: {identity()} ({code})",
            hint="check the secret key",
        )
    if code in ELSEWHERE:
        region = headers.get("x-amz-bucket-region") or details.get("Region") or "another region"
        return StoreAccessError(
            f"{place}: the bucket is in {region}, not in {request.region or 'the region asked'}",
            hint=f"set region: {region}",
        )
    if code in MISSING:
        what = "bucket" if code == "NoSuchBucket" else "table"
        inside = f" in region {request.region}" if what == "table" and request.region else ""
        return StoreAccessError(
            f"{place}: the {what} does not exist{inside}", hint="make it with: dtm init --create"
        )
    return None


def _is_about_time(details: dict[str, Any]) -> bool:
    message = str(details.get("Message", ""))
    return "Signature expired" in message or "Signature not yet current" in message


def _clocks(details: dict[str, Any], headers: dict[str, str]) -> str:
    theirs = details.get("ServerTime") or headers.get("date")
    return f"the server's says {theirs}" if theirs else str(details.get("Message", ""))


def _not_assumed(text: str, status: int) -> DtmError:
    return (
        StoreUnavailableError(text)
        if status >= 500
        else StoreAccessError(text, hint="does its trust policy name you?")
    )


def _unanswered(error: Any, exceptions: Any, request: AwsRequest) -> DtmError:
    """Map an error without an answer: nothing came back, or nothing was sent."""
    place = request.place
    if isinstance(error, exceptions.NoCredentialsError):
        return StoreAccessError(f"{place}: no AWS credentials were found", hint=NO_CREDENTIALS)
    if isinstance(error, exceptions.ProfileNotFound):
        return StoreAccessError(
            f"{place}: there is no AWS profile {error.kwargs['profile']}",
            hint="~/.aws/config (AWS_CONFIG_FILE) and ~/.aws/credentials name those that are "
            "there; the wanted one comes from option profile or AWS_PROFILE",
        )
    if isinstance(error, _credentials(exceptions)):
        return StoreAccessError(f"{place}: {error}", hint="log in again, or name another profile")
    if isinstance(error, exceptions.SSLError):
        return _tls(error, request)
    if isinstance(
        error,
        exceptions.EndpointConnectionError
        | exceptions.ConnectTimeoutError
        | exceptions.ProxyConnectionError,
    ):
        return StoreUnavailableError(
            f"{place}: {_unreachable(error)}", hint="is the endpoint right, and the network up?"
        )
    if isinstance(
        error,
        exceptions.HTTPClientError | exceptions.IncompleteReadError | exceptions.ReadTimeoutError,
    ):
        return _without_answer(
            f"{place}: {request.action} got no answer: {_reason(error)}", request
        )
    return StoreError(f"{place}: {error}")


def _credentials(exceptions: Any) -> tuple[type[Exception], ...]:
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


def _tls(error: Any, request: AwsRequest) -> DtmError:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return StoreError(
            f"{request.place}: the certificate of {_host(error)} is not trusted",
            hint="name the authority's certificate: option caBundle, or AWS_CA_BUNDLE",
        )
    return _without_answer(
        f"{request.place}: the encrypted connection broke: {_reason(error)}", request
    )


def _unreachable(error: Any) -> str:
    """Describe the host that could not be reached and the cause, in a few words."""
    cause = error.kwargs.get("error")
    if "NameResolution" in type(cause).__name__:
        host = urlsplit(str(error.kwargs.get("endpoint_url", ""))).hostname
        return f"the name {host} cannot be resolved"
    return f"cannot connect to {_host(error)}: {_reason(error)}"


def _host(error: Any) -> str:
    found = urlsplit(str(error.kwargs.get("endpoint_url") or error.kwargs.get("proxy_url") or ""))
    return f"{found.scheme}://{found.netloc.rpartition('@')[2]}"


def _reason(error: Any) -> str:
    cause = error.kwargs.get("error") or error
    system = cause.__cause__
    if isinstance(system, OSError) and system.strerror:
        return system.strerror
    return "timed out" if "Timeout" in type(error).__name__ else str(cause).rpartition(": ")[2]


def _without_answer(text: str, request: AwsRequest) -> DtmError:
    """Map a request without an answer: a write may have had its effect, a read has none."""
    return OutcomeUnknownError(text) if request.writes else StoreUnavailableError(text)
