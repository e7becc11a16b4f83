"""One AWS account: credentials, region, TLS settings, and the clients made from them.

boto3 looks for credentials in its own places (variables, profiles, single sign-on, machine roles).
A client tries each call once; `backends.aws.errors` maps its errors.
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

from backends.aws.errors import AwsRequest, map_error
from engine.errors import DtmError, StoreAccessError

CONNECTIONS = 64
"""Connections kept open per client: more than the threads of a run that call a store at once."""
SERVICES = ("s3", "dynamodb", "sts", "sso", "sso-oidc", "signin")
"""The services that dtm calls, and those that boto3 calls to obtain credentials."""
_SHOWN_OF_A_KEY = 4
_METHODS = {
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
    """A role to assume with the credentials at hand, for `seconds` at a time."""

    arn: str
    external_id: str = ""
    session_name: str = "dtm"
    seconds: int = 3600
    endpoint: str = ""


# A dataclass, since a Struct would show the secrets in its repr.
@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """Credentials and connection settings of an account; boto3 looks for what is empty.

    `timeout` is in seconds, for connecting and for each answer.
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
    """The clients of one account; nothing is read before the first one is made. Thread-safe."""

    def __init__(self, access: AwsCredentials) -> None:
        self._access = access
        self._mutex = threading.Lock()
        self._made: Any = None
        self._clients: dict[tuple[str, ...], Any] = {}

    def client(self, service: str, region: str, endpoint: str = "", addressing: str = "") -> Any:
        """Return the botocore client with these settings, safe for concurrent use, made once.

        `addressing` is botocore's addressing style of S3. Raises StoreAccessError for wrong
        credentials or a wrong profile.
        """
        key = (service, region, endpoint, addressing)
        # A boto3 session is not thread-safe, its clients are: only their making is serialised.
        with self.mapped_errors(AwsRequest(f"{service} client", endpoint or service)), self._mutex:
            if key not in self._clients:
                self._clients[key] = self._session().client(
                    service,
                    region_name=region,
                    endpoint_url=endpoint or None,
                    verify=str(self._access.ca_bundle) if self._access.ca_bundle else None,
                    config=self._config(addressing),
                )
            return self._clients[key]

    def region(self) -> str:
        """Return the region that the profile names, "" if it names none."""
        profile = f"profile {self._access.profile or 'default'}"
        with self.mapped_errors(AwsRequest("profile", profile)), self._mutex:
            session = self._configured(_botocore_session())
            return str(session.get_scoped_config().get("region") or "")

    @contextmanager
    def mapped_errors(self, request: AwsRequest) -> Generator[None]:
        """Raise the errors of the calls inside as those of `engine.errors`."""
        try:
            yield
        except DtmError:
            raise
        except Exception as error:
            found = map_error(error, request, self._identity)
            if found is None:
                raise
            raise found from error

    def _identity(self) -> str:
        """Describe the credentials in use for a message; shows only the end of a key's ID."""
        if self._access.role:
            return f"role {self._access.role.arn}"
        # Only from a session that is there: a message must not start a search for credentials.
        credentials = self._made.get_credentials() if self._made else None
        if credentials is None:
            return "nobody: no credentials were found"
        key = str(credentials.access_key)
        shown = f"...{key[-_SHOWN_OF_A_KEY:]}" if len(key) > 2 * _SHOWN_OF_A_KEY else key
        method = _METHODS.get(str(credentials.method), f"by {credentials.method}")
        profile = f" (profile {self._access.profile})" if self._access.profile else ""
        return f"access key {shown} {method}{profile}"

    def _session(self) -> Any:
        if self._made is None:
            core = self._configured(_botocore_session())
            if role := self._access.role:
                core = _assuming(core, role, partial(core.create_client, config=self._config("")))
            self._made = import_module("boto3.session").Session(botocore_session=core)
        return self._made

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
            # Once: a repeated conditional write would be refused because of its own first attempt.
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=self._access.timeout,
            read_timeout=self._access.timeout,
            max_pool_connections=CONNECTIONS,
            # Checksums only where a call needs one: botocore's default is refused by many servers
            # that are not Amazon's.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": addressing} if addressing else None,
        )


class _JsonReader:
    """A reader of botocore's service descriptions, for `botocore.loaders.Loader`."""

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


def _botocore_session() -> Any:
    """Make the session below boto3's own, with a faster loader of service descriptions.

    With botocore's own `dtm state list` on S3 takes 11 % more time: it searches the folders of all
    400 services (6 %), and reads the descriptions more slowly (8 %).
    """

    def services(_type_name: str) -> tuple[str, ...]:
        return SERVICES

    loader = import_module("botocore.loaders").Loader(file_loader=_JsonReader())
    loader.list_available_services = services
    session = import_module("botocore.session").Session()
    session.register_component("data_loader", loader)
    return session


def _assuming(source: Any, role: Role, make_client: Callable[..., Any]) -> Any:
    """Make a session that assumes `role`, again each time its credentials are to expire."""
    credentials = import_module("botocore.credentials")
    own = source.get_credentials()
    if own is None:
        raise StoreAccessError(
            f"{role.arn}: no AWS credentials were found to assume it with",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile",
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

    # The base class is of an untyped package.
    class Assumed(credentials.CredentialProvider):  # type: ignore[misc, name-defined]
        METHOD = "assume-role"

        def load(self) -> Any:
            # Deferred: the role is assumed at the first request, not when a client is made.
            return credentials.DeferredRefreshableCredentials(
                fetcher.fetch_credentials, self.METHOD
            )

    session = _botocore_session()
    session.register_component("credential_provider", credentials.CredentialResolver([Assumed()]))
    return session
