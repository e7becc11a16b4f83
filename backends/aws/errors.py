"""What a failed call to AWS, or to a server that speaks its language, means: denied, surely without effect, or unknown."""

from __future__ import annotations

from collections.abc import Callable
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
"""Refused before any effect, and worth another try. A bare 500 or 503 is not among them: it may come after the effect."""
NO_CREDENTIALS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile with credentials"
)


class Request(msgspec.Struct, frozen=True):
    """What was asked for: `action` as a policy calls it (`s3:PutObject`), `place` and `arn` for messages."""

    action: str
    place: str
    arn: str = ""
    writes: bool = False
    region: str = ""


def answer_of(error: Exception) -> dict[str, Any]:
    """The answer that an error of botocore carries, {} if a server never gave one."""
    return cast("dict[str, Any]", getattr(error, "response", None) or {})


def code_of(error: Exception) -> str:
    """The code of that answer, "" if there is none."""
    return str(answer_of(error).get("Error", {}).get("Code", ""))


def explained(error: Exception, request: Request, identity: Callable[[], str]) -> DtmError | None:
    """The error in our words, None for one that is not botocore's."""
    exceptions = import_module("botocore.exceptions")
    if isinstance(error, exceptions.ClientError):
        return _answered(error, request, identity)
    if isinstance(error, exceptions.BotoCoreError):
        return _unanswered(error, exceptions, request)
    if isinstance(
        error, ValueError
    ):  # how botocore refuses an endpoint, a bucket or a region that cannot be one
        return StoreError(f"{request.place}: {error}")
    return None


def _answered(error: Any, request: Request, identity: Callable[[], str]) -> DtmError:
    """A server said no."""
    said, answer = answer_of(error).get("Error", {}), answer_of(error).get("ResponseMetadata", {})
    code, status = code_of(error), int(answer.get("HTTPStatusCode") or 0)
    if error.operation_name.startswith("AssumeRole"):
        return _not_assumed(
            f"{request.place}: the role cannot be assumed: {code}: {said.get('Message', '')}",
            status,
        )
    known = _known(code, said, answer.get("HTTPHeaders", {}), request, identity)
    if known:
        return known
    text = f"{request.place}: {request.action} answered {code or status}: {said.get('Message') or 'no reason given'}"
    if status in (401, 403) or code in DENIED:
        return StoreAccessError(
            f"{request.place}: {request.action} is denied to {identity()} ({code})",
            hint=f"allow {request.action} on {request.arn}" if request.arn else "",
        )
    if code in HARMLESS or status == 429:
        return StoreUnavailableError(text)
    if status >= 500:
        return _in_doubt(text, request)
    return StoreError(text)


def _known(
    code: str,
    said: dict[str, Any],
    headers: dict[str, str],
    request: Request,
    identity: Callable[[], str],
) -> DtmError | None:
    """The refusals whose cause and cure are known."""
    place = request.place
    if code in EXPIRED:
        return StoreAccessError(
            f"{place}: the credentials have expired: {identity()}", hint="log in again, then repeat"
        )
    if code in SKEWED or (code in WRONG_SECRET and _is_about_time(said)):
        return StoreAccessError(
            f"{place}: this machine's clock is wrong: {_clocks(said, headers)}",
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
        region = headers.get("x-amz-bucket-region") or said.get("Region") or "another region"
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


def _is_about_time(said: dict[str, Any]) -> bool:
    message = str(said.get("Message", ""))
    return "Signature expired" in message or "Signature not yet current" in message


def _clocks(said: dict[str, Any], headers: dict[str, str]) -> str:
    theirs = said.get("ServerTime") or headers.get("date")
    return f"the server's says {theirs}" if theirs else str(said.get("Message", ""))


def _not_assumed(text: str, status: int) -> DtmError:
    return (
        StoreUnavailableError(text)
        if status >= 500
        else StoreAccessError(text, hint="does its trust policy name you?")
    )


def _unanswered(error: Any, exceptions: Any, request: Request) -> DtmError:
    """Nothing came back, or nothing was sent."""
    place = request.place
    if isinstance(error, exceptions.NoCredentialsError):
        return StoreAccessError(f"{place}: no AWS credentials were found", hint=NO_CREDENTIALS)
    if isinstance(error, exceptions.ProfileNotFound):
        return StoreAccessError(
            f"{place}: there is no AWS profile {error.kwargs['profile']}",
            hint="~/.aws/config (AWS_CONFIG_FILE) and ~/.aws/credentials name those that are there; "
            "the wanted one comes from option profile or AWS_PROFILE",
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
            f"{place}: {_unreached(error)}", hint="is the endpoint right, and the network up?"
        )
    if isinstance(
        error,
        exceptions.HTTPClientError | exceptions.IncompleteReadError | exceptions.ReadTimeoutError,
    ):
        return _in_doubt(f"{place}: {request.action} got no answer: {_reason(error)}", request)
    return StoreError(f"{place}: {error}")


def _credentials(exceptions: Any) -> tuple[type[Exception], ...]:
    return (
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
        exceptions.TokenRetrievalError,
        exceptions.NoAuthTokenError,
        exceptions.ProfileNotFound,
        exceptions.ConfigParseError,
        exceptions.ConfigNotFound,
        exceptions.SSOError,
        exceptions.MetadataRetrievalError,
        exceptions.InvalidConfigError,
        exceptions.RefreshWithMFAUnsupportedError,
        exceptions.UnknownCredentialError,
    )


def _tls(error: Any, request: Request) -> DtmError:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return StoreError(
            f"{request.place}: the certificate of {_host(error)} is not trusted",
            hint="name the authority's certificate: option caBundle, or AWS_CA_BUNDLE",
        )
    return _in_doubt(f"{request.place}: the encrypted connection broke: {_reason(error)}", request)


def _unreached(error: Any) -> str:
    """Who could not be reached and why, short."""
    cause = error.kwargs.get("error")
    if "NameResolution" in type(cause).__name__:
        return f"the name {urlsplit(str(error.kwargs.get('endpoint_url', ''))).hostname} cannot be resolved"
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


def _in_doubt(text: str, request: Request) -> DtmError:
    """A read may be tried again; whether a write had its effect nobody knows."""
    return OutcomeUnknownError(text) if request.writes else StoreUnavailableError(text)
