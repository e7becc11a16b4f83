"""The lock as a row of a DynamoDB table, as Terraform and Lokomotive keep it: `LockID` and the record in `Info`.

Only GetItem, PutItem and DeleteItem are used, and every change is conditional on the exact record that was read. Rows
that belong to others, Terraform's `-md5` rows among them, are left alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from backends.aws.errors import Request, answer_of, code_of
from backends.aws.session import Access, Aws
from engine.errors import (
    LockError,
    LockHeldError,
    StoreAccessError,
    StoreUnavailableError,
    UsageError,
)
from engine.lock import LockInfo, LockRecord
from engine.ports import Locker

ACTIONS: Final = {"GetItem": "get_item", "PutItem": "put_item", "DeleteItem": "delete_item"}
QUERY: Final = ("region", "endpoint", "profile")
FORM: Final = "dynamodb://table/LOCKID?region=eu-west-1"
UNREADABLE: Final = ""
"""The version of a row whose `Info` is no text."""
VANISHED_TRIES: Final = 3


class DynamoLocker:
    """`engine.ports.Locker` over `table`; the row of `key` is `prefix` + `key`. The client is made on first use."""

    def __init__(
        self, make_client: Callable[[], Any], table: str, *, prefix: str = "", aws: Aws
    ) -> None:
        self._make_client, self._table, self._prefix, self._aws = make_client, table, prefix, aws
        self._mutex = threading.Lock()
        self._made: Any = None

    def read(self, key: str) -> LockRecord | None:
        """See `engine.ports.Locker.read`."""
        return _record(self._call("GetItem", Key=self._id(key), ConsistentRead=True).get("Item"))

    def put(self, key: str, info: LockInfo, *, expect: LockRecord | None) -> LockRecord:
        """See `engine.ports.Locker.put`."""
        text = info.to_json().decode()
        item = {**self._id(key), "Info": {"S": text}}
        for _ in range(VANISHED_TRIES):
            changed, holder = self._changed("PutItem", key, Item=item, **_condition(expect))
            if changed:
                return LockRecord(info, _version(text))
            if holder is not None:
                raise LockHeldError(holder)
            if expect is not None:
                raise LockError(f"the lock on {key} is gone: somebody removed it")
        raise StoreUnavailableError(f"the lock on {key} comes and goes too fast to be had")

    def remove(self, key: str, *, expect: LockRecord) -> None:
        """See `engine.ports.Locker.remove`."""
        changed, holder = self._changed("DeleteItem", key, Key=self._id(key), **_condition(expect))
        if changed:
            return
        if holder is None:
            raise LockError(f"{key} is not locked")
        raise LockHeldError(holder)

    def _id(self, key: str) -> dict[str, dict[str, str]]:
        return {"LockID": {"S": self._prefix + key}}

    def _changed(self, action: str, key: str, **given: Any) -> tuple[bool, LockRecord | None]:
        """Whether the row was changed, and what is there instead."""
        try:
            self._call(action, ReturnValuesOnConditionCheckFailure="ALL_OLD", **given)
        except _ConditionFailedError as error:  # not every server says what it found
            return False, _record(error.item) or self.read(key)
        return True, None

    def _call(self, action: str, **given: Any) -> dict[str, Any]:
        client = self._client()
        request = Request(
            f"dynamodb:{action}",
            f"lock table {self._table}",
            f"arn:aws:dynamodb:*:*:table/{self._table}",
            writes=action != "GetItem",
            region=str(client.meta.region_name),
        )
        with self._aws.asking(request):
            try:
                answer: dict[str, Any] = getattr(client, ACTIONS[action])(
                    TableName=self._table, **given
                )
            except Exception as error:
                self._explain(error)
                raise
            return answer

    def _explain(self, error: Exception) -> None:
        """Raises what is special to a lock table."""
        answer, code = answer_of(error), code_of(error)
        if code == "ConditionalCheckFailedException":
            raise _ConditionFailedError(answer.get("Item")) from error
        if code == "ValidationException" and "key" in str(error).lower():
            raise StoreAccessError(
                f"lock table {self._table}: its primary key is not LockID: {answer['Error'].get('Message')}",
                hint="a lock table has the partition key LockID, spelled like that, of type String, and no sort key",
            ) from error

    def _client(self) -> Any:
        with self._mutex:
            if self._made is None:
                self._made = self._make_client()
            return self._made


class _ConditionFailedError(Exception):
    """The row is not the expected one; `item` is what the server says is there."""

    def __init__(self, item: Any) -> None:
        super().__init__()
        self.item = item


def open_locker(url: str, env: Mapping[str, str]) -> tuple[Locker, str]:
    """The locker of `dynamodb://table/LOCKID?region=...`, and its key. Raises UsageError for anything else."""
    parts = urlsplit(url)
    table, lock_id = parts.netloc, parts.path.strip("/")
    if parts.scheme != "dynamodb" or not table or not lock_id or "@" in table:
        raise UsageError(f"state.lock.url {url.split('@')[-1]}: expected {FORM}")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(query.keys() - set(QUERY)):
        raise UsageError(
            f"state.lock.url {url}: there is no option {unknown[0]}",
            hint=f"known: {', '.join(QUERY)}",
        )
    aws = Aws(Access(profile=query.get("profile", "")))
    endpoint = (
        query.get("endpoint")
        or env.get("AWS_ENDPOINT_URL_DYNAMODB")
        or env.get("AWS_ENDPOINT_URL", "")
    )
    named = query.get("region") or env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")

    def make_client() -> Any:
        region = named or aws.region() or ("us-east-1" if endpoint else "")
        if not region:
            raise StoreAccessError(
                f"{url}: no region specified", hint=f"{FORM}, AWS_REGION or AWS_DEFAULT_REGION"
            )
        return aws.client("dynamodb", region, endpoint)

    return DynamoLocker(make_client, table, aws=aws), lock_id


def _condition(expect: LockRecord | None) -> dict[str, Any]:
    if expect is None:
        return {"ConditionExpression": "attribute_not_exists(LockID)"}
    if expect.version == UNREADABLE:
        return {
            "ConditionExpression": "attribute_exists(LockID) AND NOT attribute_type(Info, :text)",
            "ExpressionAttributeValues": {":text": {"S": "S"}},
        }
    return {
        "ConditionExpression": "Info = :seen",
        "ExpressionAttributeValues": {":seen": {"S": expect.version.removeprefix("=")}},
    }


def _version(text: str) -> str:
    return f"={text}"


def _record(item: Any) -> LockRecord | None:
    if not item:
        return None
    info: Mapping[str, object] = item.get("Info") or {}
    if "S" not in info:
        return LockRecord(None, UNREADABLE)
    return LockRecord(LockInfo.from_json(str(info["S"]).encode()), _version(str(info["S"])))
