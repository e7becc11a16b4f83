"""Requests to one Kubernetes API server, and its refusals as errors of `engine.errors`."""

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

SECONDS = 10.0
CONNECTIONS = 64
"""Connections kept open at most; a run uses about one per thread."""
JSON: Final = "application/json"

Object = dict[str, Any]
"""A Kubernetes object as JSON."""


class KubernetesNotFoundError(StoreError):
    """404 of a Kubernetes object; `kind` is the plural name of its kind."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class KubernetesConflictError(StoreError):
    """409: the object exists already, or its version is not the one that the request names."""


class Cluster:
    """Requests to one API server, each tried once; connects at the first one. Thread-safe.

    `find` is called at the first request. `place` begins every error message: it names the state.
    `timeouts` are the seconds to wait for a connection and for each answer.
    """

    def __init__(
        self,
        find: Callable[[], ClusterAccess],
        place: str,
        env: Mapping[str, str],
        timeouts: tuple[float, float] = (SECONDS, SECONDS),
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
        """Send a request and return the answer.

        Raises Absent, Clash, StoreError for other refusals, and as `engine.ports.Store.write`.
        """
        client = self._connected()
        try:
            answer = client.call_api(
                path,
                method,
                body=body,
                query_params=list((query or {}).items()),
                header_params={"Accept": accept, "Content-Type": JSON},
                # Without it the client sends no token, not even that of a credential plugin.
                auth_settings=["BearerToken"],
                # Plain JSON, since the client's models are not loaded.
                response_type="object",
                _return_http_data_only=True,
                _request_timeout=self._timeouts,
            )
        except Exception as error:  # noqa: BLE001 - credential plugins raise anything
            self._translate(error, method)
        if not isinstance(answer, dict):
            kind = StoreError if method == "GET" else OutcomeUnknownError
            raise kind(
                f"{self._place}: {self._server} answers, but not as a Kubernetes API server does"
            )
        return cast("Object", answer)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._mutex:
            if self._client is not None:
                # The client's own `close` ends only its threads; the connections belong to the
                # pool.
                self._client.rest_client.pool_manager.clear()
                self._client.close()
                self._client = None

    @property
    def _server(self) -> str:
        return self._client.configuration.host if self._client is not None else "the server"

    def _connected(self) -> Any:
        with self._mutex:
            if self._client is None:
                # Within the mutex, or each thread would run the credential plugin of the
                # kubeconfig.
                self._access = self._find()
                self._client = self._connect(self._access)
            return self._client

    def _connect(self, access: ClusterAccess) -> Any:
        settings = sdk().Configuration()
        settings.retries = False  # urllib3's own: no request is sent twice
        settings.connection_pool_maxsize = CONNECTIONS
        # The client reads these variables, but does not use them.
        settings.no_proxy = self._env.get("NO_PROXY") or self._env.get("no_proxy")
        try:
            load(access, settings, self._env)
        except Exception as error:
            raise StoreAccessError(f"{self._place}: {access.identity}: {error}") from error
        client = sdk().ApiClient(settings)
        client.user_agent = "dtm"
        return client

    def _translate(self, error: Exception, method: str) -> NoReturn:
        """Raise the error that a failed request means.

        Only a request that never reached the server, or that it refused, certainly had no effect.
        """
        status = getattr(error, "status", None)
        if isinstance(status, int) and status:
            self._refused(status, _status_of(error), getattr(error, "headers", None) or {}, method)
        reason = str(getattr(error, "reason", "") or error)
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            raise StoreAccessError(
                f"{self._place}: the certificate of {self._server} is not trusted: {_why(reason)}",
                hint="certificate-authority in the kubeconfig names the cluster's own",
            ) from error
        http: Any = import_module("urllib3.exceptions")
        # Any other error comes from the credentials or the files that the kubeconfig names.
        if not isinstance(error, http.HTTPError | UnicodeError) and not reason.startswith("SSL"):
            raise StoreAccessError(f"{self._place}: {self._access.identity}: {error}") from error
        unsent = http.ConnectTimeoutError | http.NewConnectionError | http.ProxyError
        if method == "GET" or isinstance(error, unsent):
            raise StoreUnavailableError(
                f"{self._place}: {self._server} cannot be reached: {_why(reason)}"
            ) from error
        raise OutcomeUnknownError(
            f"{self._place}: {self._server} gave no answer: {_why(reason)}"
        ) from error

    def _refused(
        self, code: int, status: _Status, headers: Mapping[str, str], method: str
    ) -> NoReturn:
        message = f"{self._place}: {status.message or f'{self._server} answers {code}'}"
        match code:
            # A 404 that names no kind comes from something else than an API server.
            case 404 if status.details and status.details.kind:
                raise KubernetesNotFoundError(message, status.details.kind)
            case 409:
                raise KubernetesConflictError(message)
            case 401:
                raise StoreAccessError(
                    f"{self._place}: {self._server} does not accept the credentials of "
                    f"{self._access.identity}",
                    hint="they are missing, wrong or expired; "
                    "kubectl get configmaps with the same kubeconfig tells the same",
                )
            case 403:
                raise StoreAccessError(
                    message,
                    hint="needed: get, list, create, update, delete on configmaps "
                    "in this namespace",
                )
            case 413 | 422:
                raise StoreError(message)
            # 410: the page token of a list has expired; a new list succeeds.
            case 410 | 429:
                raise StoreUnavailableError(message + _pause(headers))
            case _ if code >= 500:
                self._failed(code, message, headers, method)
            case _:
                raise StoreError(
                    f"{message} ({code})",
                    hint="is the server in the kubeconfig a Kubernetes API server?",
                )

    def _failed(self, code: int, message: str, headers: Mapping[str, str], method: str) -> NoReturn:
        """Raise the error of a 5xx answer.

        A 503 with Retry-After means that the server did nothing; any other failure may come after
        the effect.
        """
        if method == "GET" or (code == 503 and _pause(headers)):
            raise StoreUnavailableError(message + _pause(headers))
        raise OutcomeUnknownError(message)


class _Details(msgspec.Struct):
    kind: str = ""


class _Status(msgspec.Struct):
    message: str = ""
    details: _Details | None = None


def _status_of(error: Exception) -> _Status:
    """Decode a refusal; empty if it does not come from an API server but from a proxy before it."""
    try:
        return msgspec.json.decode(getattr(error, "body", None) or "{}", type=_Status)
    except msgspec.DecodeError:
        return _Status()


def _pause(headers: Mapping[str, str]) -> str:
    seconds = headers.get("Retry-After", "")
    return f"; it asks to wait {seconds} s" if seconds else ""


def _why(reason: str) -> str:
    """Extract the cause from urllib3's nested texts."""
    found = re.search(
        r"(certificate verify failed[^(\n']*|\[Errno -?\d+\] [^'\")]*|timed out"
        r"|[Cc]onnection \w+ \w+[^'\")]*)",
        reason,
    )
    return re.sub(r"^\[Errno -?\d+\] ", "", found[1] if found else reason).strip().rstrip(".")
