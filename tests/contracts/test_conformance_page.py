"""The conformance page lists every case and no failure. `make conformance` writes it."""

from __future__ import annotations

from dtm.testing.locker import LOCKER_CASES
from dtm.testing.session import SESSION_CASES
from dtm.testing.store import STORE_CASES
from tests.conformance import PAGE, Run
from tests.servers.real import real


def test_page_lists_every_case_and_no_failure() -> None:
    text = PAGE.read_text("utf-8")
    names = [*map(str, STORE_CASES), *map(str, LOCKER_CASES), *SESSION_CASES]
    assert [name for name in names if f"| {name} |" not in text] == []
    assert "| failed |" not in text


def test_page_was_written_with_all_real_servers() -> None:
    text = PAGE.read_text("utf-8")
    assert [
        name for name in ("Ceph RGW", "DynamoDB Local", "kube-apiserver") if name not in text
    ] == []
    assert "`make test-real` starts it" not in text


def test_differing_page_is_reported() -> None:
    run = Run(
        order=["x::test_store[moto-C01 absent]"],
        verdicts={("test_store", "C01 absent", "moto"): "passed"},
    )
    run.servers["moto"] = "moto 5"
    text = run.page()
    assert list(run.differences(text)) == []
    run.verdicts["test_store", "C01 absent", "moto"] = "failed"
    assert list(run.differences(text)) == [
        "Stores, C01 absent, moto: failed, but the page has passed"
    ]
    run.verdicts["test_store", "C02 new", "moto"] = "passed"
    assert len(list(run.differences(text))) == 2


def test_results_of_absent_servers_are_kept() -> None:
    why = "not tried: rgw: no apt"
    run = Run(
        order=["x::test_store[s3-C01 absent]"], verdicts={("test_store", "C01 absent", "s3"): why}
    )
    run.servers["s3"] = "Ceph"
    text = run.page().replace(why, "passed")
    assert len(list(run.differences(text))) == 1
    real().missing["rgw"] = "no apt"
    try:
        assert list(run.differences(text)) == []
    finally:
        del real().missing["rgw"]
