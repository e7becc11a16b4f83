"""The contracts on Kubernetes, and tests of parts, namespaces, roles and other ConfigMaps.

The contracts run here on the fake server, and in tests/real on the real one. All other tests run on
both.
"""

from __future__ import annotations

import base64
import gzip
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

import backends.kubernetes.store as module
from backends.kubernetes.api import Cluster, Object
from backends.kubernetes.configmaps import ConfigMaps
from backends.kubernetes.kubeconfig import find_access
from backends.kubernetes.store import KubernetesStore, configmap_name, open_provisioner
from dtm.testing.conformance import Case, CaseSkipped
from dtm.testing.locker import LOCKER_CASES
from dtm.testing.session import SESSION_CASES
from dtm.testing.store import STORE_CASES
from engine.address import Address
from engine.errors import ConflictError, StoreAccessError, StoreError, StoreUnavailableError
from engine.state import Resource, State, StateEntry, StateId
from engine.stored.state_file import encode
from tests.contracts.kube import ROLE, locker_place, session_place, store_in, store_place
from tests.contracts.remote import OtherProcess
from tests.servers.fake_kube import FakeKube, fake_kube
from tests.servers.kube import Kube
from tests.servers.real import real

KEY = "state"
AnyKube = Kube | FakeKube


@pytest.fixture(scope="module", params=["fake", "real"])
def kube(request: pytest.FixtureRequest, kube: FakeKube) -> AnyKube:
    if request.param == "fake":
        return kube
    if (running := real().kubernetes) is None:
        pytest.skip(f"kubernetes: {real().why_not('kubernetes')}")
    return running


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeKube]:
    with fake_kube(tmp_path_factory.mktemp("fake")) as found:
        yield found


@pytest.fixture(scope="module")
def other() -> Iterator[OtherProcess]:
    with closing(OtherProcess()) as process:
        yield process


def check(case: Case[Any], place: Any) -> None:
    try:
        case.check(place)
    except CaseSkipped as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("case", STORE_CASES, ids=str)
@pytest.mark.parametrize("place", ["fake_kubernetes"])
def test_store(place: str, case: Case[Any], fake: FakeKube, other: OtherProcess) -> None:
    with store_place(fake, other) as made:
        check(case, made)


@pytest.mark.parametrize("case", LOCKER_CASES, ids=str)
@pytest.mark.parametrize("place", ["fake_kubernetes"])
def test_locker(place: str, case: Case[Any], fake: FakeKube, other: OtherProcess) -> None:
    with locker_place(fake, other, contenders=8) as made:
        check(case, made)


@pytest.mark.parametrize("case", list(SESSION_CASES), ids=str)
@pytest.mark.parametrize("place", ["fake_kubernetes"])
def test_session_contract(place: str, case: str, fake: FakeKube) -> None:
    with session_place(fake) as connect:
        SESSION_CASES[case](connect)


@pytest.fixture
def namespace(kube: AnyKube) -> str:
    made = kube.namespace("state")
    kube.grant(made, ROLE)
    return made


class WriterKilled(BaseException):
    """Raised in a killed process; a BaseException, so that no handler catches it."""


def do_nothing(_method: str, _path: str) -> None:
    """Do nothing before a request."""


def kill_at_request(request: int) -> Callable[[str, str], None]:
    """Return a function that kills the writer before its n-th request."""
    number = count(1)

    def die(_method: str, _path: str) -> None:
        if next(number) == request:
            raise WriterKilled

    return die


class WatchedCluster(Cluster):
    """A cluster that calls `before_request(method, path)`, which may raise, before each request."""

    def __init__(
        self, kube: AnyKube, before_request: Callable[[str, str], None] = do_nothing
    ) -> None:
        super().__init__(
            lambda: find_access(kube.kubeconfig, "admin", None, Path("/"), {}), "here", {}
        )
        self.before_request = before_request
        self.asked: list[str] = []

    def call(self, method: str, path: str, **more: Any) -> Object:
        self.asked.append(f"{method} {path.rpartition('/')[2]}")
        self.before_request(method, path)
        return super().call(method, path, **more)

    def config_map(self, namespace: str, name: str, **content: Any) -> None:
        """Create a ConfigMap as another program would."""
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **content}
        super().call("POST", f"/api/v1/namespaces/{namespace}/configmaps", body=body)

    def names(self, namespace: str) -> list[str]:
        found = super().call("GET", f"/api/v1/namespaces/{namespace}/configmaps")
        names = [item["metadata"]["name"] for item in found["items"]]
        return sorted(name for name in names if name != "kube-root-ca.crt")


@pytest.fixture
def cluster(kube: AnyKube) -> Iterator[WatchedCluster]:
    with closing(WatchedCluster(kube)) as found:
        yield found


@pytest.fixture
def store(kube: AnyKube, namespace: str) -> Iterator[KubernetesStore]:
    with closing(store_in(kube.kubeconfig, namespace)) as found:
        yield found


def watched_store(cluster: WatchedCluster, namespace: str) -> KubernetesStore:
    return KubernetesStore(ConfigMaps(cluster, namespace), KEY)


def random_bytes(size: int, seed: int = 0) -> bytes:
    """Return bytes that cannot be compressed."""
    return random.Random(seed).randbytes(size)


def parts_in(cluster: WatchedCluster, namespace: str) -> list[str]:
    return [name for name in cluster.names(namespace) if ".part." in name]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce the size of parts, so that a value of 40,000 bytes has five."""
    monkeypatch.setattr(module, "PART_SIZE", 8 * 1024)


def test_large_value_is_split_and_its_parts_are_removed(
    store: KubernetesStore, cluster: WatchedCluster, namespace: str
) -> None:
    data = random_bytes(3_000_000)
    version = store.write(KEY, data, expect=None)
    assert len(parts_in(cluster, namespace)) == 4 and list(store.list("")) == [KEY]
    found = store.read(KEY)
    assert found is not None and found.data == data and found.version == version
    version = store.write(KEY, random_bytes(1_000_000, 1), expect=version)
    assert len(parts_in(cluster, namespace)) == 2
    version = store.write(KEY, b"small again", expect=version)
    assert cluster.names(namespace) == [KEY]
    store.delete(KEY, expect=store.write(KEY, data, expect=version))
    assert cluster.names(namespace) == []


def test_state_of_ten_thousand_tools_fits(store: KubernetesStore) -> None:
    number = random.Random(0)
    tools = {
        Address("file", f"t{index}"): StateEntry(
            Address("file", f"t{index}"),
            resource=Resource(f"f{index}", {"sha256": f"{number.getrandbits(256):064x}"}),
        )
        for index in range(10_000)
    }
    data = encode(State(StateId("l", 1), tools))
    assert len(data) > 3_000_000
    store.write(KEY, data, expect=None)
    found = store.read(KEY)
    assert found is not None and found.data == data


@pytest.mark.usefixtures("small_parts")
def test_readers_see_complete_values_in_parts(
    store: KubernetesStore, kube: AnyKube, namespace: str
) -> None:
    values = [random_bytes(40_000, seed) for seed in range(30)]
    version, seen, done = store.write(KEY, values[0], expect=None), set[int](), threading.Event()

    def read() -> None:
        with closing(store_in(kube.kubeconfig, namespace)) as reader:
            while not done.is_set():
                found = None
                with suppress(
                    StoreUnavailableError
                ):  # the value was replaced too often: read again
                    found = reader.read(KEY)
                seen.add(
                    values.index(found.data)
                    if found and found.data in values
                    else -1
                    if found
                    else 0
                )

    reader = threading.Thread(target=read)
    reader.start()
    for value in values[1:]:
        version = store.write(KEY, value, expect=version)
    done.set()
    reader.join()
    assert -1 not in seen and len(seen) > 1


@pytest.mark.usefixtures("small_parts")
def test_killed_writer_leaves_the_old_or_the_new_value(
    kube: AnyKube, store: KubernetesStore, cluster: WatchedCluster, namespace: str
) -> None:
    old, new = random_bytes(40_000, 1), random_bytes(50_000, 2)
    version, moment, killed, seen = store.write(KEY, old, expect=None), 0, True, set[bytes]()
    while killed:
        cluster.before_request = kill_at_request(moment := moment + 1)
        try:
            watched_store(cluster, namespace).write(KEY, new, expect=version)
            killed = False
        except WriterKilled:
            pass
        cluster.before_request = do_nothing
        found = store.read(KEY)
        assert found is not None and found.data in (old, new)
        seen.add(found.data)
        version = store.write(KEY, old, expect=found.version)
        assert len(parts_in(cluster, namespace)) == 5  # the parts of the killed writer are removed
    assert seen == {old, new} and moment > 15


@pytest.mark.usefixtures("small_parts")
def test_overtaken_writer_in_parts_leaves_no_parts(
    store: KubernetesStore, cluster: WatchedCluster, namespace: str
) -> None:
    seen = store.write(KEY, random_bytes(40_000, 1), expect=None)
    winner = random_bytes(30_000, 2)

    def overtake(method: str, _path: str) -> None:
        if method == "PUT":
            cluster.before_request = do_nothing
            store.write(KEY, winner, expect=seen)

    cluster.before_request = overtake
    with pytest.raises(ConflictError):
        watched_store(cluster, namespace).write(KEY, random_bytes(50_000, 3), expect=seen)
    found = store.read(KEY)
    assert found is not None and found.data == winner and len(parts_in(cluster, namespace)) == 4


@pytest.mark.usefixtures("small_parts")
def test_missing_part_is_an_error_not_an_empty_state(
    store: KubernetesStore, cluster: WatchedCluster, namespace: str
) -> None:
    store.write(KEY, random_bytes(40_000), expect=None)
    ConfigMaps(cluster, namespace).remove(parts_in(cluster, namespace)[1])
    with pytest.raises(StoreError, match=f"ConfigMap state in namespace {namespace} is damaged"):
        store.read(KEY)


DEVSTREAM_PLUGINS = "data_default:\n  name: data\n  instanceid: default\n"


def test_state_of_devstream_is_read_and_replaced(
    store: KubernetesStore, cluster: WatchedCluster, namespace: str
) -> None:
    body = {
        "metadata": {
            "name": KEY,
            "labels": {"created_by": "DevStream", "app.kubernetes.io/managed-by": "DevStream"},
            "annotations": {"team": "blue"},
        },
        "data": {"state": DEVSTREAM_PLUGINS},
    }
    cluster.call("POST", f"/api/v1/namespaces/{namespace}/configmaps", body=body)
    found = store.read(KEY)
    assert found is not None and found.data == DEVSTREAM_PLUGINS.encode()
    store.write(KEY, b"ours", expect=found.version)
    now = cluster.call("GET", f"/api/v1/namespaces/{namespace}/configmaps/{KEY}")
    assert (
        "data" not in now
        and gzip.decompress(base64.b64decode(now["binaryData"]["value.gz"])) == b"ours"
    )
    assert (
        now["metadata"]["labels"]["created_by"] == "DevStream"
        and now["metadata"]["annotations"]["team"] == "blue"
    )
    assert now["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "dtm" and list(
        store.list("")
    ) == [KEY]


@pytest.mark.parametrize(
    "content",
    [
        {"data": {"application.properties": "x=1"}},
        {"data": {"state": "", "other": "x"}},
        {"binaryData": {"logo.png": "eA=="}},
    ],
)
def test_config_map_of_another_program_is_an_error(
    store: KubernetesStore, cluster: WatchedCluster, namespace: str, content: dict[str, Any]
) -> None:
    cluster.config_map(namespace, KEY, **content)
    with pytest.raises(
        StoreError,
        match=r"ConfigMap state in namespace .* contains keys of another program: (app|other|logo)",
    ):
        store.read(KEY)
    with pytest.raises(ConflictError):
        store.write(KEY, b"x", expect=None)


def test_empty_config_map_is_an_empty_value(
    store: KubernetesStore, cluster: WatchedCluster, namespace: str
) -> None:
    cluster.config_map(namespace, KEY)
    found = store.read(KEY)
    assert found is not None and found.data == b""
    store.write(KEY, b"x", expect=found.version)
    assert (now := store.read(KEY)) is not None and now.data == b"x"


def test_value_without_gzip_is_returned_unchanged(
    store: KubernetesStore, cluster: WatchedCluster, namespace: str
) -> None:
    cluster.config_map(
        namespace, KEY, binaryData={"value.gz": base64.b64encode(b"spoilt").decode()}
    )
    assert (found := store.read(KEY)) is not None and found.data == b"spoilt"


def test_first_write_creates_the_namespace(kube: AnyKube, cluster: WatchedCluster) -> None:
    namespace = kube.namespace("made") + "-later"
    options = {"kubeconfig": kube.kubeconfig, "namespace": namespace}
    place = open_provisioner(options, Path("/"), {})
    store = watched_store(cluster, namespace)
    assert store.read(KEY) is None and list(store.list("")) == []
    assert place.missing() == [f"namespace {namespace} does not exist"]
    store.write(KEY, b"x", expect=None)
    assert cluster.asked[2:] == ["POST configmaps", "POST namespaces", "POST configmaps"]
    assert place.missing() == [] and place.create() == []
    place.close()


def test_provisioner_creates_the_namespace(kube: AnyKube) -> None:
    namespace = kube.namespace("made") + "-before"
    with closing(
        open_provisioner({"kubeconfig": kube.kubeconfig, "namespace": namespace}, Path("/"), {})
    ) as place:
        assert (
            place.create() == [f"namespace {namespace}"]
            and place.missing() == []
            and place.create() == []
        )


def test_policy_grants_the_role_of_the_contracts(kube: AnyKube, namespace: str) -> None:
    with closing(
        open_provisioner({"kubeconfig": kube.kubeconfig, "namespace": namespace}, Path("/"), {})
    ) as place:
        role, binding = yaml.safe_load_all(place.policy())
    assert role["rules"] == [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ROLE}]
    assert (
        binding["roleRef"]["name"] == role["metadata"]["name"]
        and role["metadata"]["namespace"] == namespace
    )


def test_read_only_role_can_read(kube: AnyKube, cluster: WatchedCluster) -> None:
    namespace = kube.namespace("readers")
    kube.grant(namespace, ["get", "list"])
    watched_store(cluster, namespace).write(KEY, b"x", expect=None)
    with closing(store_in(kube.kubeconfig, namespace)) as store:
        found = store.read(KEY)
        assert found is not None and list(store.list("")) == [KEY]
        with pytest.raises(
            StoreAccessError, match='User "team" cannot update resource "configmaps"'
        ):
            store.write(KEY, b"y", expect=found.version)


def test_each_write_and_delete_is_one_request(cluster: WatchedCluster, namespace: str) -> None:
    """A write or delete of a version that was seen sends one request."""
    store = watched_store(cluster, namespace)
    store.read("state.log")
    version = store.write("state.log", b"0", expect=None)
    for number in range(3):
        version = store.write("state.log", str(number).encode() * 9, expect=version)
    store.delete("state.log", expect=version)
    assert cluster.asked == [
        "GET state.log",
        "POST configmaps",
        *["PUT state.log"] * 3,
        "DELETE state.log",
    ]
    for key in ("state.history/1-a", "state.history/2-b"):
        store.write(key, b"x", expect=None)
    cluster.asked.clear()
    other = watched_store(cluster, namespace)
    for key in other.list("state.history/"):
        other.delete(key)
    assert cluster.asked == [
        "GET configmaps",
        "DELETE state.history.1-a",
        "DELETE state.history.2-b",
    ]


def test_unconditional_delete_removes_current_parts(
    store: KubernetesStore, cluster: WatchedCluster, namespace: str, small_parts: None
) -> None:
    version = store.write(KEY, b"small", expect=None)
    other = watched_store(cluster, namespace)
    assert list(other.list("")) == [KEY]
    store.write(KEY, random_bytes(40_000), expect=version)
    other.delete(KEY)
    assert cluster.names(namespace) == []


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("state", "state"),
        ("state.log", "state.log"),
        ("state.log.d/ab12cd34-17-89abcdef", "state.log.ab12cd34-17-89abcdef"),
        ("state.history/12-ab12cd34", "state.history.12-ab12cd34"),
        ("state.lock", "state.lock"),
        ("a/b/c", "a.b.c"),
    ],
)
def test_names_of_known_keys_are_readable(key: str, name: str) -> None:
    assert configmap_name(key) == name


def test_every_other_key_has_a_unique_legal_name() -> None:
    keys = [
        "",
        "../escape",
        "/escape",
        "a//b",
        ".",
        "A",
        "a",
        "Grüße",
        "a_b",
        "x" * 300,
        "x" * 301,
        "-",
        "a.",
        "a/.b",
    ]
    names = [configmap_name(key) for key in keys]
    assert len(set(names)) == len(keys) and all(
        module.NAME_PATTERN.fullmatch(name) and len(name) <= 220 for name in names
    )


def test_two_states_share_a_namespace(
    kube: AnyKube, cluster: WatchedCluster, namespace: str, store: KubernetesStore
) -> None:
    other = KubernetesStore(ConfigMaps(cluster, namespace), "another" + "-long" * 20)
    store.write("state.log", b"1", expect=None)
    other.write("another.log", b"2", expect=None)
    assert list(store.list("")) == ["state.log"] and list(other.list("")) == ["another.log"]
