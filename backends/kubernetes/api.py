"""Requests to one Kubernetes API server; its refusals become errors of `engine.errors`."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final, NoReturn, cast

import msgspec

from backends.kubernetes.client import sdk
from backends.kubernetes.kubeconfig import ClusterAccess, load
from engine.errors import OutcomeUnknownError, StoreAccessError, StoreError, StoreUnavailableError

DEFAULT_TIMEOUT = 10.0
MAX_CONNECTIONS = 64
"""Connections that the client keeps open at most; a run uses about one per thread."""
JSON: Final = "application/json"

Object = dict[str, Any]
"""A Kubernetes object as JSON."""


class KubernetesNotFoundError(StoreError):
    """A 404 for a Kubernetes object; `kind` is the plural name of its kind.

    Callers turn it into None or into a conflict.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class KubernetesConflictError(StoreError):
    """A 409: the object exists already, or its version is not the one in the request."""


class Cluster:
    """Requests to one API server, each sent once. Thread-safe.

    `find` returns the server and the credentials; it is called at the first request. `place` is the
    URL of the state, and every error message begins with it. `timeouts` are the seconds to wait for
    a connection, and for each response.
    """

    def __init__(
        self,
        find: Callable[[], ClusterAccess],
        place: str,
        env: Mapping[str, str],
        timeouts: tuple[float, float] = (DEFAULT_TIMEOUT, DEFAULT_TIMEOUT),
    ) -> None:
        self._find, self._place, self._env, self._timeouts = find, place, env, timeouts
        self._mutex = threading.Lock()
        self._client: Any = None
        self._access = ClusterAccess()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Object | None = None,
        query: Mapping[str, str] | None = None,
        accept: str = JSON,
    ) -> Object:
        """Send a request and return the response.

        Raises KubernetesNotFoundError, KubernetesConflictError, StoreError for other refusals, and
        as `engine.ports.Store.write`.
        """
        client = self._connected()
        try:
            answer = client.call_api(
                path,
                method,
                body=body,
                query_params=list((query or {}).items()),
                header_params={"Accept": accept, "Content-Type": JSON},
                # Without this the client sends no token, not even that of a credential plugin.
                auth_settings=["BearerToken"],
                # Decode to plain dicts, since the client's models are not loaded.
                response_type="object",
                _return_http_data_only=True,
                _request_timeout=self._timeouts,
            )
        except Exception as error:  # noqa: BLE001 - credential plugins raise anything
            self._raise_mapped(error, method)
        if not isinstance(answer, dict):
            kind = StoreError if method == "GET" else OutcomeUnknownError
            raise kind(
                f"{self._place}: {self._server} does not answer like a Kubernetes API server"
            )
        return cast("Object", answer)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        with self._mutex:
            if self._client is not None:
                # The client's own `close` ends only its threads; the pool holds the connections.
                self._client.rest_client.pool_manager.clear()
                self._client.close()
                self._client = None

    @property
    def _server(self) -> str:
        return self._client.configuration.host if self._client is not None else "the server"

    def _connected(self) -> Any:
        with self._mutex:
            if self._client is None:
                # Within the mutex: otherwise each thread would run the credential plugin of the
                # kubeconfig, and a user might have to log in several times.
                self._access = self._find()
                self._client = self._connect(self._access)
            return self._client

    def _connect(self, access: ClusterAccess) -> Any:
        settings = sdk().Configuration()
        # No retries by urllib3: a repeated write would conflict with its own first attempt.
        settings.retries = False
        settings.connection_pool_maxsize = MAX_CONNECTIONS
        # The client reads these variables itself, but then ignores them.
        settings.no_proxy = self._env.get("NO_PROXY") or self._env.get("no_proxy")
        try:
            load(access, settings, self._env)
        except Exception as error:
            raise StoreAccessError(f"{self._place}: {access.identity}: {error}") from error
        client = sdk().ApiClient(settings)
        client.user_agent = "dtm"
        return client

    def _raise_mapped(self, error: Exception, method: str) -> NoReturn:
        """Raise the error of `engine.errors` for a failed request.

        A request surely had no effect only if it never reached the server, or was refused by it.
        """
        status = getattr(error, "status", None)
        if isinstance(status, int) and status:
            self._raise_refusal(
                status, _status_of(error), getattr(error, "headers", None) or {}, method
            )
        reason = str(getattr(error, "reason", "") or error)
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            raise StoreAccessError(
                f"{self._place}: the certificate of {self._server} is not trusted: "
                f"{_cause_of(reason)}",
                hint="name the certificate of the cluster's authority as certificate-authority "
                "in the kubeconfig",
            ) from error
        http: Any = import_module("urllib3.exceptions")
        # Any other error comes from the credentials, or from files that the kubeconfig names.
        if not isinstance(error, http.HTTPError | UnicodeError) and not reason.startswith("SSL"):
            raise StoreAccessError(f"{self._place}: {self._access.identity}: {error}") from error
        unsent = http.ConnectTimeoutError | http.NewConnectionError | http.ProxyError
        if method == "GET" or isinstance(error, unsent):
            raise StoreUnavailableError(
                f"{self._place}: {self._server} cannot be reached: {_cause_of(reason)}"
            ) from error
        raise OutcomeUnknownError(
            f"{self._place}: {self._server} gave no answer: {_cause_of(reason)}"
        ) from error

    def _raise_refusal(
        self, code: int, status: _Status, headers: Mapping[str, str], method: str
    ) -> NoReturn:
        message = f"{self._place}: {status.message or f'{self._server} answers {code}'}"
        match code:
            # A 404 without a kind does not come from an API server. To take it for a missing object
            # would show an empty state.
            case 404 if status.details and status.details.kind:
                raise KubernetesNotFoundError(message, status.details.kind)
            case 409:
                raise KubernetesConflictError(message)
            case 401:
                raise StoreAccessError(
                    f"{self._place}: {self._server} does not accept the credentials of "
                    f"{self._access.identity}",
                    hint="log in to the cluster again, and check with kubectl get configmaps",
                )
            case 403:
                raise StoreAccessError(
                    message,
                    hint="allow get, list, create, update, delete on configmaps in this namespace; "
                    "dtm init --create prints the role",
                )
            case 413 | 422:
                raise StoreError(message)
            # 410 means that the token of the next page has expired. A new list succeeds.
            case 410 | 429:
                raise StoreUnavailableError(message + _retry_after(headers))
            case _ if code >= 500:
                self._raise_server_error(code, message, headers, method)
            case _:
                raise StoreError(
                    f"{message} ({code})",
                    hint="check that the server in the kubeconfig is a Kubernetes API server",
                )

    def _raise_server_error(
        self, code: int, message: str, headers: Mapping[str, str], method: str
    ) -> NoReturn:
        """Raise the error of a 5xx response.

        A 503 with Retry-After means that the server did nothing. After any other 5xx, a write may
        have had its effect.
        """
        if method == "GET" or (code == 503 and _retry_after(headers)):
            raise StoreUnavailableError(message + _retry_after(headers))
        raise OutcomeUnknownError(message)


class _Details(msgspec.Struct):
    kind: str = ""


class _Status(msgspec.Struct):
    message: str = ""
    details: _Details | None = None


def _status_of(error: Exception) -> _Status:
    """Decode a refusal; return an empty one if a proxy in front of the API server sent it."""
    try:
        return msgspec.json.decode(getattr(error, "body", None) or "{}", type=_Status)
    except msgspec.DecodeError:
        return _Status()


def _retry_after(headers: Mapping[str, str]) -> str:
    seconds = headers.get("Retry-After", "")
    return f" (the server asks to wait {seconds} s)" if seconds else ""


def _cause_of(reason: str) -> str:
    """Extract the cause from the nested messages of urllib3."""
    found = re.search(
        r"(certificate verify failed[^(\n']*|\[Errno -?\d+\] [^'\")]*|timed out"
        r"|[Cc]onnection \w+ \w+[^'\")]*)",
        reason,
    )
    return re.sub(r"^\[Errno -?\d+\] ", "", found[1] if found else reason).strip().rstrip(".")
