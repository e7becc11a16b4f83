"""One AWS account: credentials, region, TLS settings, and the botocore clients that use them.

boto3 finds credentials in its usual places: variables, profiles, single sign-on, machine roles. A
client sends each request once; `backends.aws.errors` maps its errors.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from backends.aws.errors import NO_CREDENTIALS_HINT, AwsRequest, map_error
from engine.errors import DtmError, StoreAccessError

MAX_CONNECTIONS = 64
"""Connections that a client keeps open: more than the threads of a run that use a store."""
SERVICES = ("s3", "dynamodb", "sts", "sso", "sso-oidc", "signin")
"""The services that dtm calls, and those that boto3 calls to obtain credentials."""
_SHOWN_KEY_LENGTH = 4
_CREDENTIAL_SOURCES = {
    "env": "from the environment",
    "explicit": "from the options of the state",
    "shared-credentials-file": "from the credentials file",
    "config-file": "from the config file",
    "iam-role": "from the role of this machine",
    "container-role": "from the role of this container",
    "sso": "from single sign-on",
    "assume-role-with-web-identity": "from a web identity",
}


class Role(msgspec.Struct, frozen=True):
    """A role to assume with the account's own credentials, for `seconds` at a time."""

    arn: str
    external_id: str = ""
    session_name: str = "dtm"
    seconds: int = 3600
    endpoint: str = ""


# A dataclass, because the repr of a msgspec Struct would show the secrets.
@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """Credentials and connection settings of an account; boto3 finds values for empty fields.

    `timeout` is the number of seconds to wait for a connection, and for each response.
    """

    profile: str = ""
    credentials_file: Path | None = None
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    role: Role | None = None
    ca_bundle: Path | None = None
    timeout: float = 10.0


class AwsAccount:
    """The botocore clients of one account. Thread-safe.

    No file and no variable is read before the first client is created.
    """

    def __init__(self, access: AwsCredentials) -> None:
        self._access = access
        self._mutex = threading.Lock()
        self._boto_session: Any = None
        self._clients: dict[tuple[str, ...], Any] = {}

    def client(self, service: str, region: str, endpoint: str = "", addressing: str = "") -> Any:
        """Return the botocore client with these settings; create it at the first call.

        A client is safe for concurrent use. `addressing` is botocore's addressing style for S3.
        Raises StoreAccessError for wrong credentials or a wrong profile.
        """
        key = (service, region, endpoint, addressing)
        # A boto3 session is not thread-safe, but its clients are. So only their creation is locked.
        with self.mapped_errors(AwsRequest(f"{service} client", endpoint or service)), self._mutex:
            if key not in self._clients:
                self._clients[key] = self._get_session().client(
                    service,
                    region_name=region,
                    endpoint_url=endpoint or None,
                    verify=str(self._access.ca_bundle) if self._access.ca_bundle else None,
                    config=self._config(addressing),
                )
            return self._clients[key]

    def region(self) -> str:
        """Return the region of the profile, "" if it has none."""
        profile = f"profile {self._access.profile or 'default'}"
        with self.mapped_errors(AwsRequest("profile", profile)), self._mutex:
            session = self._configured(_new_botocore_session())
            return str(session.get_scoped_config().get("region") or "")

    @contextmanager
    def mapped_errors(self, request: AwsRequest) -> Generator[None]:
        """Raise the errors of the calls in this block as errors of `engine.errors`."""
        try:
            yield
        except DtmError:
            raise
        except Exception as error:
            mapped = map_error(error, request, self._identity)
            if mapped is None:
                raise
            raise mapped from error

    def _identity(self) -> str:
        """Describe the credentials in use, with only the last characters of the key ID."""
        if self._access.role:
            return f"role {self._access.role.arn}"
        # Only from an existing session: formatting a message must not start a search for
        # credentials, which can send requests.
        credentials = self._boto_session.get_credentials() if self._boto_session else None
        if credentials is None:
            return "an anonymous user (no credentials were found)"
        key = str(credentials.access_key)
        shown = f"...{key[-_SHOWN_KEY_LENGTH:]}" if len(key) > 2 * _SHOWN_KEY_LENGTH else key
        method = _CREDENTIAL_SOURCES.get(str(credentials.method), f"by {credentials.method}")
        profile = f" (profile {self._access.profile})" if self._access.profile else ""
        return f"access key {shown} {method}{profile}"

    def _get_session(self) -> Any:
        if self._boto_session is None:
            core = self._configured(_new_botocore_session())
            if role := self._access.role:
                core = _session_with_role(
                    core, role, partial(core.create_client, config=self._config(""))
                )
            self._boto_session = import_module("boto3.session").Session(botocore_session=core)
        return self._boto_session

    def _configured(self, core: Any) -> Any:
        access = self._access
        if access.credentials_file:
            core.set_config_variable("credentials_file", str(access.credentials_file))
        if access.profile:
            core.set_config_variable("profile", access.profile)
        if access.access_key:
            core.set_credentials(access.access_key, access.secret_key, access.token or None)
        return core

    def _config(self, addressing: str) -> Any:
        return import_module("botocore.config").Config(
            # No retries: a repeated conditional write would be refused because of its own first
            # attempt, and dtm would take that for another client's write.
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=self._access.timeout,
            read_timeout=self._access.timeout,
            max_pool_connections=MAX_CONNECTIONS,
            # Only required checksums: many servers that are not Amazon's refuse the additional ones
            # that botocore sends by default.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": addressing} if addressing else None,
        )


class _JsonReader:
    """A fast reader of botocore's service descriptions, for `botocore.loaders.Loader`."""

    def exists(self, path: str) -> bool:
        return Path(f"{path}.json.gz").is_file() or Path(f"{path}.json").is_file()

    def load_file(self, path: str) -> Any:
        for ending in (".json", ".json.gz"):
            try:
                data = Path(path + ending).read_bytes()
            except FileNotFoundError:
                continue
            return msgspec.json.decode(gzip.decompress(data) if ending == ".json.gz" else data)
        return None


def _new_botocore_session() -> Any:
    """Create a botocore session with a faster loader of service descriptions.

    With botocore's own loader, `dtm state list` on S3 takes 11 % longer: that loader searches the
    folders of all 400 services, and decodes the descriptions more slowly.
    """

    def services(_type_name: str) -> tuple[str, ...]:
        return SERVICES

    loader = import_module("botocore.loaders").Loader(file_loader=_JsonReader())
    loader.list_available_services = services
    session = import_module("botocore.session").Session()
    session.register_component("data_loader", loader)
    return session


def _session_with_role(source: Any, role: Role, make_client: Callable[..., Any]) -> Any:
    """Create a session that assumes `role`, and assumes it again before its credentials expire."""
    credentials = import_module("botocore.credentials")
    own = source.get_credentials()
    if own is None:
        raise StoreAccessError(
            f"{role.arn}: no AWS credentials were found to assume this role with",
            hint=NO_CREDENTIALS_HINT,
        )
    given = {
        "RoleSessionName": role.session_name,
        "ExternalId": role.external_id,
        "DurationSeconds": role.seconds,
    }
    region = source.get_config_variable("region") or "us-east-1"
    fetcher = credentials.AssumeRoleCredentialFetcher(
        client_creator=partial(make_client, region_name=region, endpoint_url=role.endpoint or None),
        source_credentials=own,
        role_arn=role.arn,
        extra_args={name: value for name, value in given.items() if value},
    )

    # The base class comes from an untyped package.
    class Assumed(credentials.CredentialProvider):  # type: ignore[misc, name-defined]
        METHOD = "assume-role"

        def load(self) -> Any:
            # Deferred: the role is assumed at the first request, not when a client is created. So
            # the error of a refused role is mapped like that of any other request.
            return credentials.DeferredRefreshableCredentials(
                fetcher.fetch_credentials, self.METHOD
            )

    session = _new_botocore_session()
    session.register_component("credential_provider", credentials.CredentialResolver([Assumed()]))
    return session
