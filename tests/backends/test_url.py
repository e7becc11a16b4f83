"""All forms of state URLs, and the errors of wrong ones."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.local.store import open_backend
from backends.url import FORMS, parse, to_url
from engine.config import LockSettings, StateSettings
from engine.errors import UsageError
from engine.values import Secret, Value


@pytest.mark.parametrize(
    ("url", "backend", "options"),
    [
        ("state.yaml", "local", {"stateFile": "state.yaml"}),
        (
            "dir/with space/devstream.state",
            "local",
            {"stateFile": "dir/with space/devstream.state"},
        ),
        ("./s3.state", "local", {"stateFile": "./s3.state"}),
        ("~/devstream.state", "local", {"stateFile": "~/devstream.state"}),
        ("/srv/devstream.state", "local", {"stateFile": "/srv/devstream.state"}),
        ("/srv/devstream.state//", "local", {"stateFile": "/srv/devstream.state"}),
        ("what?.state", "local", {"stateFile": "what?.state"}),
        ("a:b", "local", {"stateFile": "a:b"}),
        ("file:///srv/devstream.state", "local", {"stateFile": "/srv/devstream.state"}),
        ("FILE:///srv/A%20b", "local", {"stateFile": "/srv/A%20b"}),
        ("s3://b/k", "s3", {"bucket": "b", "key": "k"}),
        ("s3://b/deep/er/k///", "s3", {"bucket": "b", "key": "deep/er/k"}),
        (
            "s3://b/k?region=eu-west-1&dynamodb_table=locks&endpoint=http%3A%2F%2Flocalhost%3A9000",
            "s3",
            {
                "bucket": "b",
                "key": "k",
                "region": "eu-west-1",
                "dynamodbTable": "locks",
                "endpoint": "http://localhost:9000",
            },
        ),
        ("do://b/k", "s3", {"flavour": "do", "bucket": "b", "key": "k"}),
        (
            "scw://b/k?region=fr-par",
            "s3",
            {"flavour": "scw", "bucket": "b", "key": "k", "region": "fr-par"},
        ),
        (
            "hos://b/k?endpoint=https://e",
            "s3",
            {"flavour": "hos", "bucket": "b", "key": "k", "endpoint": "https://e"},
        ),
        ("linode://b/k", "s3", {"flavour": "linode", "bucket": "b", "key": "k"}),
        ("k8s://devstream/state", "kubernetes", {"namespace": "devstream", "configmap": "state"}),
        (
            "k8s://ns/state?context=kind",
            "kubernetes",
            {"namespace": "ns", "configmap": "state", "context": "kind"},
        ),
        ("gs://b/k", "gcs", {"bucket": "b", "key": "k"}),
        (
            "azureblob://account/container/a/b",
            "azure",
            {"account": "account", "container": "container", "key": "a/b"},
        ),
        ("swift://container/key", "swift", {"container": "container", "key": "key"}),
        ("oss://b/k", "oss", {"bucket": "b", "key": "k"}),
        ("memfs://name", "memory", {"name": "name"}),
    ],
)
def test_url_becomes_settings(url: str, backend: str, options: dict[str, str]) -> None:
    assert parse(url) == StateSettings(backend, options)


def test_lock_log_and_history_in_a_query() -> None:
    found = parse("s3://b/k?lock=both&lock_url=dynamodb://t/ID&lease=2m&log=inline&history=5")
    assert found == StateSettings(
        "s3",
        {"bucket": "b", "key": "k"},
        LockSettings("both", "dynamodb://t/ID", 120.0),
        "inline",
        5,
    )
    assert parse("file:///s?lease=500ms").lock.lease == 0.5


@pytest.mark.parametrize(
    ("url", "message", "hint"),
    [
        ("", "the state URL is empty", "s3://bucket/key"),
        ("  ", "the state URL is empty", "file:///path"),
        ("s3:/b", "expected s3://bucket/key", "two slashes"),
        ("s3:b/k", "expected s3://bucket/key", "two slashes"),
        ("s3:///b/k", "bucket is missing, expected s3://bucket/key", ""),
        ("s3://", "expected s3://bucket/key", "put the rest of the URL after the two slashes"),
        ("s3://b", "key is missing, expected s3://bucket/key", ""),
        ("s3://b/", "key is missing, expected s3://bucket/key", ""),
        ("gs://", "expected gs://bucket/key", ""),
        ("file://", "expected file:///path", ""),
        (
            "file://relative/s.state?lock=none",
            "expected file:///path",
            "without file://: relative/s.state",
        ),
        ("file://~/s.state", "expected file:///path", "without file://: ~/s.state"),
        ("foo://b/k", "unknown scheme foo", "use a path, or one of"),
        ("foo:/b", "unknown scheme foo", "use a path, or one of"),
        ("s33://b/k", "unknown scheme s33", "check the spelling: s3://bucket/key"),
        ("https://host/state", "unknown scheme https", "use a path"),
        ("vault://host/mount/path", "unknown scheme vault", "use a path"),
        ("k8s://", "expected k8s://namespace/configmap", ""),
        ("k8s://kind-kind", "configmap is missing", "not a context as in kops"),
        ("k8s://me@cluster/key", "expected k8s://namespace/configmap", "name the context with"),
        (
            "k8s://Tool_chain/state",
            "expected k8s://namespace/configmap",
            "use lower-case letters",
        ),
        ("k8s://ns/a/b", "expected k8s://namespace/configmap", "kops"),
        (
            "azureblob://container/key",
            "key is missing, expected azureblob://account/container/key",
            "storage account",
        ),
        (
            "s3://b/k?regoin=x",
            "s3:// has no option regoin",
            "check the spelling: region is similar",
        ),
        ("gs://b/k?zzz=x", "gs:// has no option zzz", "use one of "),
        ("file:///s?region=x", "file:// has no option region", "use one of lock"),
        ("s3://b/k?region=", "option region is empty", ""),
        ("s3://b/k?region=a&region=b", "option region is given twice", ""),
        ("s3://b/k?lock=maybe", 'lock "maybe" must be one of auto', ""),
        ("s3://b/k?log=here", 'log "here" must be one of auto', ""),
        ("s3://b/k?lease=30", 'lease "30" is not a duration', ""),
        ("s3://b/k?lease=25h", 'lease "25h" is longer than 24h', ""),
        ("s3://b/k?lease=0s", 'lease "0s" is not a duration', ""),
        ("s3://b/k?history=0", 'history "0" is not a number', ""),
    ],
)
def test_wrong_url_is_refused_with_the_expected_form(url: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(url)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="credentials do not belong in a URL") as caught:
        parse("s3://AKIA:hunter2@b/k")
    assert "hunter2" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_example_is_a_valid_url(form: object) -> None:
    assert parse(form.example).backend == form.backend  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_settings_become_the_same_url(form: object) -> None:
    example = form.example  # type: ignore[attr-defined]
    assert to_url(parse(example)) == example


def test_url_leaves_out_secrets_and_unknown_options() -> None:
    options: dict[str, Value] = {
        "bucket": "b",
        "key": "k",
        "region": Secret("r"),
        "other": "x",
        "endpoint": "http://e/?a&b",
    }
    url = to_url(StateSettings("s3", options))
    assert url == "s3://b/k?endpoint=http%3A%2F%2Fe%2F%3Fa%26b"
    assert parse(url).options["endpoint"] == "http://e/?a&b"
    assert to_url(StateSettings("somebodys", options)) == ""


@given(
    st.text()
    | st.tuples(st.sampled_from(sorted(FORMS)), st.text()).map(
        lambda pair: f"{pair[0]}://{pair[1]}"
    )
)
def test_any_text_becomes_settings_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        assert parse(text).options


def test_opening_creates_no_file(tmp_path: Path) -> None:
    opened = open_backend({"stateFile": "deep/devstream.state"}, tmp_path, {})
    store, key, locker = opened.store, opened.key, opened.lockers["native"]()
    assert (store.location, key) == (f"file://{tmp_path}/deep", "devstream.state")
    assert store.read(key) is None
    assert locker.read(key) is None
    assert list(store.list("")) == []
    store.delete(key)
    assert list(tmp_path.iterdir()) == []


def test_target_of_a_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "s").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real/s")
    opened = open_backend({"stateFile": "link"}, tmp_path, {})
    store, key = opened.store, opened.key
    found = store.read(key)
    assert found is not None
    store.write(key, b"new", expect=found.version)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "s").read_bytes() == b"new"


def test_directory_is_refused_as_state_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory") as caught:
        open_backend({"stateFile": str(tmp_path)}, Path("/"), {})
    assert str(tmp_path / "devstream.state") in caught.value.hint
