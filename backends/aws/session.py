"""One AWS account as a state sees it: credentials, region and TLS settings, and clients made on first use.

What boto3 finds by itself (variables, profiles, single sign-on, roles of the machine) is left to it. A client makes one
try per call; what became of a failed one is told by `backends.aws.errors`.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from backends.aws.errors import Request, explained
from engine.errors import DtmError, StoreAccessError

CONNECTIONS = 64
"""Kept open per client: more than a run has threads that ask a store at once."""
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
NO_REGION = (
    "no region: set option region, AWS_REGION or AWS_DEFAULT_REGION, or a region in the profile"
)


class Role(msgspec.Struct, frozen=True):
    """A role to assume with the credentials at hand, for `seconds` at a time."""

    arn: str
    external_id: str = ""
    session_name: str = "dtm"
    seconds: int = 3600
    endpoint: str = ""


@dataclass(
    frozen=True, slots=True
)  # no Struct: it can leave the keys out of what it shows of itself
class Access:
    """How to be let in; empty means what boto3 finds. `timeout` is in seconds, for connecting and for each answer."""

    profile: str = ""
    credentials_file: Path | None = None
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    role: Role | None = None
    ca_bundle: Path | None = None
    timeout: float = 10.0


class Aws:
    """Makes clients, and says in a failed call's error who we are. Nothing is read before the first client."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._mutex = threading.Lock()
        self._made: Any = None

    def client(
        self,
        service: str,
        region: str,
        endpoint: str = "",
        *,
        config: Mapping[str, Any] | None = None,
    ) -> Any:
        """A botocore client, safe for concurrent use. Raises StoreAccessError where credentials or profile are wrong."""
        request = Request(f"{service} client", endpoint or service)
        with self.asking(request), self._mutex:
            return self._session().client(
                service,
                region_name=region,
                endpoint_url=endpoint or None,
                verify=str(self._access.ca_bundle) if self._access.ca_bundle else None,
                config=self._config(config or {}),
            )

    def region(self) -> str:
        """The region that the profile names, "" if it names none."""
        with (
            self.asking(Request("profile", f"profile {self._access.profile or 'default'}")),
            self._mutex,
        ):
            return str(
                self._configured(_botocore_session()).get_scoped_config().get("region") or ""
            )

    @contextmanager
    def asking(self, request: Request) -> Generator[None]:
        """The errors of the calls inside in the words of `engine.errors`."""
        try:
            yield
        except DtmError:
            raise
        except Exception as error:
            found = explained(error, request, self._identity)
            if found is None:
                raise
            raise found from error

    def _identity(self) -> str:
        """Who we are, for a message about what we may not do; shows at most the end of an access key's ID."""
        if self._access.role:
            return f"role {self._access.role.arn}"
        credentials = self._made.get_credentials() if self._made else None
        if credentials is None:
            return "nobody: no credentials were found"
        key = str(credentials.access_key)
        shown = (
            f"access key ...{key[-_SHOWN_OF_A_KEY:]}"
            if len(key) > 2 * _SHOWN_OF_A_KEY
            else f"access key {key}"
        )
        profile = f" (profile {self._access.profile})" if self._access.profile else ""
        return (
            f"{shown} {_METHODS.get(str(credentials.method), f'by {credentials.method}')}{profile}"
        )

    def _session(self) -> Any:
        if self._made is None:
            core = self._configured(_botocore_session())
            if role := self._access.role:
                core = _assuming(core, role, partial(core.create_client, config=self._config({})))
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

    def _config(self, more: Mapping[str, Any]) -> Any:
        return import_module("botocore.config").Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=self._access.timeout,
            read_timeout=self._access.timeout,
            max_pool_connections=CONNECTIONS,
            # Only what a call sets itself: the newer defaults are refused by many servers that are not Amazon's.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            **more,
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
    """A session whose credentials come from assuming a role, again when they are about to expire."""
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

    class Assumed(credentials.CredentialProvider):  # type: ignore[misc, name-defined]  # a class of an untyped package
        METHOD = "assume-role"

        def load(self) -> Any:
            return credentials.DeferredRefreshableCredentials(
                fetcher.fetch_credentials, self.METHOD
            )

    core = _botocore_session()
    core.register_component("credential_provider", credentials.CredentialResolver([Assumed()]))
    return core
