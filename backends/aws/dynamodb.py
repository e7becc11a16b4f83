"""The lock as a row of a DynamoDB table, in Terraform's format: `LockID`, and the record in `Info`.

dtm calls only GetItem, PutItem and DeleteItem. Every change is conditional on the exact record that
was read. Other rows of the table are never changed, such as Terraform's `-md5` rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

from backends.aws.errors import AwsRequest, error_code, response_of
from backends.aws.session import AwsAccount, AwsCredentials
from backends.lockers.refusals import RecordMismatchError, put_record, release_error
from engine.errors import StoreAccessError, UsageError
from engine.lock import LockInfo, LockRecord
from engine.ports import Locker

ACTIONS: Final = {"GetItem": "get_item", "PutItem": "put_item", "DeleteItem": "delete_item"}
URL_OPTIONS: Final = ("region", "endpoint", "profile")
URL_FORM: Final = "dynamodb://table/LOCKID?region=eu-west-1"
UNREADABLE: Final = ""
"""The version of a row whose `Info` is not a string."""


class DynamoLocker:
    """`engine.ports.Locker` on `table`; the `LockID` of `key` is `prefix` + `key`.

    If `lock_id` is given, it is the `LockID` for every key. `client` returns the DynamoDB client of
    `aws`; it is not called before the first request.
    """

    def __init__(
        self,
        client: Callable[[], Any],
        table: str,
        *,
        prefix: str = "",
        lock_id: str = "",
        aws: AwsAccount,
    ) -> None:
        self._client, self._table, self._aws = client, table, aws
        self._prefix, self._lock_id = prefix, lock_id

    def read(self, key: str) -> LockRecord | None:
        """See `engine.ports.Locker.read`."""
        # Without ConsistentRead DynamoDB may return an old row. A released lock would then seem
        # held, and a takeover would expect a version that is gone.
        found = self._call("GetItem", key, Key=self._row_key(key), ConsistentRead=True)
        return _record(found.get("Item"))

    def put(self, key: str, info: LockInfo, *, expect: LockRecord | None) -> LockRecord:
        """See `engine.ports.Locker.put`."""
        text = info.to_json().decode()
        item = {**self._row_key(key), "Info": {"S": text}}

        # This replaces the whole row: fields that another program has added are removed with the
        # old record.
        def attempt() -> LockRecord:
            self._call("PutItem", key, Item=item, **_condition_parameters(expect))
            return LockRecord(info, _version(text))

        return put_record(self._lock_id or key, expect, attempt)

    def remove(self, key: str, *, expect: LockRecord) -> None:
        """See `engine.ports.Locker.remove`."""
        try:
            self._call("DeleteItem", key, Key=self._row_key(key), **_condition_parameters(expect))
        except RecordMismatchError as refused:
            raise release_error(self._lock_id or key, refused.holder) from refused

    def _row_key(self, key: str) -> dict[str, dict[str, str]]:
        return {"LockID": {"S": self._lock_id or self._prefix + key}}

    def _call(self, action: str, key: str, **given: Any) -> dict[str, Any]:
        """Send a request for the row of `key`.

        Raises RecordMismatchError if the condition of the request fails.
        """
        client = self._client()
        request = AwsRequest(
            f"dynamodb:{action}",
            f"lock table {self._table}",
            f"arn:aws:dynamodb:*:*:table/{self._table}",
            writes=action != "GetItem",
            region=str(client.meta.region_name),
        )
        with self._aws.mapped_errors(request):
            try:
                call = getattr(client, ACTIONS[action])
                return cast("dict[str, Any]", call(TableName=self._table, **given))
            except Exception as error:
                self._raise_table_error(error, key)
                raise

    def _raise_table_error(self, error: Exception, key: str) -> None:
        """Raise the errors that are specific to a lock table; return for any other error."""
        answer, code = response_of(error), error_code(error)
        if code == "ConditionalCheckFailedException":
            # Not every server returns the current row with the refusal.
            raise RecordMismatchError(_record(answer.get("Item")) or self.read(key)) from error
        # DynamoDB has no code of its own for a wrong key, so the message must be examined.
        if code == "ValidationException" and "key" in str(error).lower():
            raise StoreAccessError(
                f"lock table {self._table}: its primary key is not LockID: "
                f"{answer['Error'].get('Message')}",
                hint="use a table with the partition key LockID of type String and no sort key; "
                "dtm init --create creates one",
            ) from error


def open_locker(url: str, env: Mapping[str, str]) -> Locker:
    """Return the locker for a URL such as `dynamodb://table/LOCKID?region=eu-west-1`.

    No request is sent. Raises UsageError for any other URL.
    """
    parts = urlsplit(url)
    table, lock_id = parts.netloc, parts.path.strip("/")
    if parts.scheme != "dynamodb" or not table or not lock_id or "@" in table:
        raise UsageError(f"state.lock.url {url.split('@')[-1]}: expected {URL_FORM}")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(query.keys() - set(URL_OPTIONS)):
        raise UsageError(
            f"state.lock.url {url}: unknown option {unknown[0]}",
            hint=f"use one of {', '.join(URL_OPTIONS)}",
        )
    aws = AwsAccount(AwsCredentials(profile=query.get("profile", "")))
    endpoint = (
        query.get("endpoint")
        or env.get("AWS_ENDPOINT_URL_DYNAMODB")
        or env.get("AWS_ENDPOINT_URL", "")
    )
    named = query.get("region") or env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")

    # Cached, so that the files of the profile are read only once.
    @cache
    def client() -> Any:
        region = named or aws.region() or ("us-east-1" if endpoint else "")
        if not region:
            raise StoreAccessError(
                f"{url}: no region specified",
                hint=f"set AWS_REGION or AWS_DEFAULT_REGION, or name it in the URL: {URL_FORM}",
            )
        return aws.client("dynamodb", region, endpoint)

    return DynamoLocker(client, table, lock_id=lock_id, aws=aws)


def _condition_parameters(expect: LockRecord | None) -> dict[str, Any]:
    """Return the parameters that make a change conditional on the row `expect` (None: no row)."""
    # With ALL_OLD the refusal contains the holder's row, which saves a second request.
    refused = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    if expect is None:
        return {**refused, "ConditionExpression": "attribute_not_exists(LockID)"}
    if expect.version == UNREADABLE:
        # An unreadable row has no text to compare. It must still exist, and still be unreadable.
        condition = "attribute_exists(LockID) AND NOT attribute_type(Info, :seen)"
        seen = "S"
    else:
        condition, seen = "Info = :seen", expect.version.removeprefix("=")
    values = {":seen": {"S": seen}}
    return {**refused, "ConditionExpression": condition, "ExpressionAttributeValues": values}


def _version(text: str) -> str:
    # The prefix keeps the version of an empty text different from UNREADABLE.
    return f"={text}"


def _record(item: Any) -> LockRecord | None:
    if not item:
        return None
    info: Mapping[str, object] = item.get("Info") or {}
    if "S" not in info:
        return LockRecord(None, UNREADABLE)
    return LockRecord(LockInfo.from_json(str(info["S"]).encode()), _version(str(info["S"])))
