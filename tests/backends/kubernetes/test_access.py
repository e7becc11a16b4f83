"""Access to a cluster: kubeconfigs, credentials, errors, lost answers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import backends.kubernetes.kubeconfig as module
from backends.kubernetes.api import Cluster
from backends.kubernetes.configmaps import ConfigMaps
from backends.kubernetes.kubeconfig import ClusterAccess, find_access
from backends.kubernetes.store import KubernetesStore, open_backend, open_provisioner
from engine.errors import (
    ConfigError,
    DtmError,
    OutcomeUnknownError,
    StoreAccessError,
    StoreError,
    StoreUnavailableError,
)
from engine.values import Value
from tests.contracts.kube import ROLE, store_in
from tests.servers.fake_kube import Answer, Call, FakeCluster, FakeKube, fake_kube

KEY = "state"


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[FakeKube]:
    with fake_kube(tmp_path) as found:
        yield found


@pytest.fixture
def fake_cluster(kube: FakeKube) -> FakeCluster:
    return kube.fake_cluster


@pytest.fixture
def connect(kube: FakeKube) -> Iterator[Callable[..., KubernetesStore]]:
    """Return a function that connects clients; they wait `answer` seconds for an answer."""
    clients: list[KubernetesStore] = []

    def make(answer: float = 10.0, **given: Any) -> KubernetesStore:
        access = ClusterAccess(**{"files": (Path(kube.kubeconfig),), **given})
        clients.append(store_of(Cluster(lambda: access, "k8s://default/state", {}, (2.0, answer))))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def store_of(cluster: Cluster) -> KubernetesStore:
    return KubernetesStore(ConfigMaps(cluster, "default"), KEY)


@pytest.fixture
def store(connect: Callable[..., KubernetesStore]) -> KubernetesStore:
    return connect()


def failing(call: Callable[[], object], kind: type[DtmError]) -> DtmError:
    with pytest.raises(kind) as found:
        call()
    assert type(found.value) is kind
    return found.value


def kubeconfig(path: Path, user: dict[str, Any], server: str, **cluster: Any) -> Path:
    path.write_text(
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
                "users": [{"name": "u", "user": user}],
                "contexts": [{"name": "production", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "production",
            }
        )
    )
    return path


# --- clusters and credentials


def test_kubeconfig_option_precedes_variable_and_default(
    tmp_path: Path,
) -> None:
    usual = tmp_path / ".kube" / "config"
    usual.parent.mkdir()
    usual.touch()
    env = {"HOME": str(tmp_path), "KUBECONFIG": "/one:/two", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert find_access("near", "", None, tmp_path, env).files == (tmp_path / "near",)
    assert find_access("", "", None, tmp_path, env).files == (Path("/one"), Path("/two"))
    assert find_access("", "c", None, tmp_path, {**env, "KUBECONFIG": ""}) == ClusterAccess(
        (usual,), "c"
    )
    assert find_access("", "", True, tmp_path, env) == ClusterAccess()


def test_pod_without_kubeconfig_uses_its_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    monkeypatch.setattr(module, "SERVICE_ACCOUNT_DIR", tmp_path)
    find = partial(find_access, "", base=tmp_path, env=env)
    failing(lambda: find("", None), StoreAccessError)
    (tmp_path / "token").touch()
    assert find("", None) == ClusterAccess()
    failing(lambda: find("", False), StoreAccessError)
    # A context names an entry of a kubeconfig, so a pod without one cannot use it.
    error = failing(lambda: find("named", None), StoreAccessError)
    assert str(tmp_path / ".kube" / "config") in error.message and "KUBECONFIG" in error.hint


def test_pod_account_connects_to_the_cluster(
    kube: FakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("admintoken")
    (tmp_path / "ca.crt").write_text("-")
    env = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": kube.server.rpartition(":")[2],
    }
    cluster = Cluster(lambda: ClusterAccess(account=tmp_path), "here", env)
    with closing(store_of(cluster)) as store:
        # The client connects with TLS, which the fake server does not speak.
        error = failing(lambda: store.read(KEY), StoreUnavailableError)
    assert f"https://127.0.0.1:{env['KUBERNETES_SERVICE_PORT']}" in error.message


@pytest.mark.parametrize(
    ("content", "context", "said"),
    [
        (None, "", "No such file"),
        ("- a list", "", "is not a valid kubeconfig"),
        ("{", "", "is not a valid kubeconfig"),
        ("{}", "", "no current-context"),
        (
            "{contexts: [{name: production}, {name: staging}]}",
            "",
            "option context to one of production, staging",
        ),
        (
            "{contexts: [{name: production}]}",
            "producton",
            'no context "producton", check the spelling: production is similar',
        ),
        (
            "{contexts: [{name: production}], current-context: x}",
            "",
            'no context "x"; use one of production',
        ),
        (
            "{contexts: [{name: x, context: {cluster: c}}], current-context: x, clusters: []}",
            "",
            "Expected object with name c",
        ),
    ],
)
def test_wrong_kubeconfig_is_explained(
    connect: Callable[..., KubernetesStore],
    tmp_path: Path,
    content: str | None,
    context: str,
    said: str,
) -> None:
    path = tmp_path / "broken"
    if content is not None:
        path.write_text(content)
    error = failing(lambda: connect(files=(path,), context=context).read(KEY), StoreAccessError)
    assert said in error.message and str(path) in error.message


def test_contexts_of_several_kubeconfigs_are_merged(
    connect: Callable[..., KubernetesStore], kube: FakeKube, tmp_path: Path
) -> None:
    other = kubeconfig(tmp_path / "other", {"token": "admintoken"}, kube.server)
    files = (other, tmp_path / "absent", Path(kube.kubeconfig))
    assert connect(files=files, context="production").read(KEY) is None
    assert connect(files=files, context="admin").read(KEY) is None


def test_first_kubeconfig_with_a_name_counts(
    connect: Callable[..., KubernetesStore], kube: FakeKube, tmp_path: Path
) -> None:
    right = kubeconfig(tmp_path / "right", {"token": "admintoken"}, kube.server)
    wrong = kubeconfig(tmp_path / "wrong", {"token": "stolen"}, "http://127.0.0.1:1")
    assert connect(files=(right, wrong, Path(kube.kubeconfig))).read(KEY) is None


CREDENTIAL = """
import json, sys
version = "client.authentication.k8s.io/v1"
status = {"token": sys.argv[1]}
print(json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status}))
"""


def plugin(code: str, *arguments: str) -> dict[str, Any]:
    command = {
        "command": sys.executable,
        "args": ["-c", code, *arguments],
        "apiVersion": "client.authentication.k8s.io/v1",
    }
    return {"exec": command}


def test_credential_plugin_provides_the_token(
    connect: Callable[..., KubernetesStore], kube: FakeKube, tmp_path: Path
) -> None:
    path = kubeconfig(tmp_path / "plugin", plugin(CREDENTIAL, "admintoken"), kube.server)
    store = connect(files=(path,))
    store.write(KEY, b"x", expect=None)
    assert [call.user for call in kube.fake_cluster.calls] == ["admin"]


def test_error_of_a_credential_plugin_is_reported(
    connect: Callable[..., KubernetesStore],
    kube: FakeKube,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = kubeconfig(
        tmp_path / "plugin", plugin("import sys; sys.exit('please log in first')"), kube.server
    )
    error = failing(lambda: connect(files=(path,)).read(KEY), StoreAccessError)
    assert (
        "please log in first" in error.message and f"the current context of {path}" in error.message
    )
    assert not kube.fake_cluster.calls and capfd.readouterr().err == ""


def test_all_option_problems_are_reported_at_once() -> None:
    options: dict[str, Value] = {
        "namespace": "Big",
        "configmap": "a_b",
        "inCluster": True,
        "context": "x",
        "kubeconfig": "y",
    }
    for opens in (open_backend, open_provisioner):
        with pytest.raises(ConfigError) as refused:
            opens(options, Path("/"), {})
        assert [problem.where for problem in refused.value.problems] == [
            "namespace",
            "configmap",
            "kubeconfig",
            "context",
        ]


def test_opening_sends_no_request(tmp_path: Path) -> None:
    opened = open_backend({}, tmp_path, {"HOME": "/nowhere"})
    assert opened.key == "state" and opened.store.location == "k8s://devstream" and opened.trusted
    assert list(opened.lockers) == ["native"]


def test_no_proxy_variable_is_honored(kube: FakeKube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    def read(env: dict[str, str]) -> object:
        with closing(
            store_of(Cluster(lambda: ClusterAccess((Path(kube.kubeconfig),)), "here", env))
        ) as store:
            return store.read(KEY)

    assert read({"NO_PROXY": "127.0.0.1"}) is None and read({"no_proxy": "127.0.0.1"}) is None
    failing(lambda: read({}), StoreUnavailableError)


# --- error mapping


def test_unknown_credentials_are_described(
    connect: Callable[..., KubernetesStore], kube: FakeKube, tmp_path: Path
) -> None:
    path = kubeconfig(tmp_path / "stranger", {"token": "stolen"}, kube.server)
    error = failing(
        lambda: connect(files=(path,), context="production").read(KEY), StoreAccessError
    )
    assert error.message.endswith(
        f"{kube.server} does not accept the credentials of context production of {path}"
    )
    assert "stolen" not in f"{error.message}{error.hint}{error.__cause__}"


@pytest.mark.parametrize(
    ("verbs", "call", "said"),
    [
        ([], lambda store: store.read(KEY), 'User "team" cannot get resource "configmaps"'),
        (
            ["get"],
            lambda store: list(store.list("")),
            'User "team" cannot list resource "configmaps"',
        ),
        (
            ["get", "list"],
            lambda store: store.write(KEY, b"", expect=None),
            'User "team" cannot create resource',
        ),
        (["get"], lambda store: store.delete("there"), 'User "team" cannot delete resource'),
    ],
)
def test_forbidden_request_names_user_verb_and_resource(
    connect: Callable[..., KubernetesStore],
    kube: FakeKube,
    verbs: list[str],
    call: Callable[[KubernetesStore], Any],
    said: str,
) -> None:
    connect().write("there", b"", expect=None)
    kube.grant("default", verbs)
    error = failing(lambda: call(connect(context="team")), StoreAccessError)
    assert (
        said in error.message
        and 'in the namespace "default"' in error.message
        and "get, list, create" in error.hint
    )


def test_denied_namespace_creation_names_the_command(kube: FakeKube) -> None:
    kube.grant("absent", ROLE)
    with closing(store_in(kube.kubeconfig, "absent")) as store:
        error = failing(lambda: store.write(KEY, b"x", expect=None), StoreAccessError)
    assert "namespace absent does not exist" in error.message and 'User "team"' in error.message
    assert (
        error.hint == "ask an administrator of the cluster to run kubectl create namespace absent"
    )


def test_only_the_verbs_of_the_role_are_used(kube: FakeKube) -> None:
    kube.grant("default", ROLE)
    with closing(store_in(kube.kubeconfig, "default")) as store:
        store.delete(KEY, expect=store.write(KEY, b"y", expect=store.write(KEY, b"x", expect=None)))
        store.read(KEY)
        list(store.list(""))
    with closing(
        open_provisioner(
            {"kubeconfig": kube.kubeconfig, "namespace": "default", "context": "team"},
            Path("/"),
            {},
        )
    ) as place:
        assert place.missing() == [] and place.create() == []
    assert {call.verb for call in kube.fake_cluster.calls} == set(ROLE) and {
        call.resource for call in kube.fake_cluster.calls
    } == {"configmaps"}


def always(answer: Answer) -> Callable[[Call], Answer]:
    return lambda _call: answer


def status(code: int, message: str = "too busy", **headers: str) -> Answer:
    return Answer(code, json.dumps({"kind": "Status", "message": message}).encode(), headers)


WRITES: list[Callable[[KubernetesStore, str], Any]] = [
    lambda store, _version: store.write("new", b"x", expect=None),
    lambda store, version: store.write(KEY, b"y", expect=version),
    lambda store, version: store.delete(KEY, expect=version),
]
"""Functions that send one request each, if the store has seen `version` of KEY."""
READS: list[Callable[[KubernetesStore], Any]] = [
    lambda store: store.read(KEY),
    lambda store: list(store.list("")),
]
writes = pytest.mark.parametrize("write", WRITES, ids=["create", "replace", "delete"])
reads = pytest.mark.parametrize("read", READS, ids=["read", "list"])


@writes
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (status(429), StoreUnavailableError),
        (status(503, **{"Retry-After": "7"}), StoreUnavailableError),
        (status(503), OutcomeUnknownError),
        (status(500, "etcdserver: request timed out"), OutcomeUnknownError),
        (status(504), OutcomeUnknownError),
        (Answer(), OutcomeUnknownError),
        (Answer(lost=True), OutcomeUnknownError),
        (Answer(200, b'{"kind": "Conf'), OutcomeUnknownError),
        (Answer(200, b"\xff"), OutcomeUnknownError),
        (status(413, "Request entity too large"), StoreError),
        (status(422, "too long: must have at most 1048576 bytes"), StoreError),
        (status(400, "no"), StoreError),
    ],
)
def test_kubernetes_write_error_mapping(
    store: KubernetesStore,
    fake_cluster: FakeCluster,
    write: Callable[..., Any],
    answer: Answer,
    kind: type[DtmError],
) -> None:
    version = store.write(KEY, b"x", expect=None)
    fake_cluster.calls.clear()
    fake_cluster.fault = always(answer)
    error = failing(lambda: write(store, version), kind)
    assert len(fake_cluster.calls) <= 1  # each request is sent once
    if answer.code >= 400:
        assert json.loads(answer.body)["message"] in error.message
    if answer.headers:
        assert "the server asks to wait 7 s" in error.message


@reads
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (status(429), StoreUnavailableError),
        (status(500), StoreUnavailableError),
        (status(410, "the continue token has expired"), StoreUnavailableError),
        (Answer(), StoreUnavailableError),
        (Answer(502, b"<html>bad gateway"), StoreUnavailableError),
        (Answer(404, b"404 page not found"), StoreError),
        (status(404, "the server could not find the requested resource"), StoreError),
        (Answer(200, b"<html>please log in"), StoreError),
        (Answer(200, b'{"kind": "Surprise"}'), StoreError),
        (Answer(200, b"\xff"), StoreUnavailableError),
    ],
)
def test_failed_read_is_never_an_empty_state(
    store: KubernetesStore,
    fake_cluster: FakeCluster,
    read: Callable[[KubernetesStore], Any],
    answer: Answer,
    kind: type[DtmError],
) -> None:
    fake_cluster.fault = always(answer)
    assert failing(lambda: read(store), kind).message


@writes
def test_timeout_error_mapping(
    connect: Callable[..., KubernetesStore], fake_cluster: FakeCluster, write: Callable[..., Any]
) -> None:
    hurried, gate = connect(answer=0.3), threading.Event()
    version = hurried.write(KEY, b"x", expect=None)

    def wait(_call: Call) -> None:
        gate.wait(10)

    fake_cluster.before = wait
    try:
        assert "timed out" in failing(lambda: write(hurried, version), OutcomeUnknownError).message
        assert "timed out" in failing(lambda: hurried.read(KEY), StoreUnavailableError).message
    finally:
        gate.set()


def test_refused_connection_is_unavailable(
    connect: Callable[..., KubernetesStore], tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{taken.getsockname()[1]}"
        store = connect(files=(kubeconfig(tmp_path / "absent", {}, server),))
        for call in (*READS, lambda store: store.write(KEY, b"x", expect=None)):
            error = failing(partial(call, store), StoreUnavailableError)
            assert (
                error.message
                == f"k8s://default/state: {server} cannot be reached: Connection refused"
            )


def test_unknown_host_name_is_unavailable(
    connect: Callable[..., KubernetesStore], tmp_path: Path
) -> None:
    store = connect(files=(kubeconfig(tmp_path / "unknown", {}, "http://cluster.invalid:1"),))
    assert (
        "http://cluster.invalid:1 cannot be reached"
        in failing(lambda: store.read(KEY), StoreUnavailableError).message
    )


def test_untrusted_certificate_is_an_access_error(
    connect: Callable[..., KubernetesStore], tmp_path: Path
) -> None:
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")]
    subprocess.run(
        [*command, *files, "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )
    with tls_server(tmp_path) as server:
        store = connect(files=(kubeconfig(tmp_path / "tls", {"token": "t"}, server),))
        for call in (READS[0], lambda store: store.write(KEY, b"x", expect=None)):
            error = failing(partial(call, store), StoreAccessError)
            assert (
                f"the certificate of {server} is not trusted: certificate verify failed: self"
                in error.message
            )
            assert "certificate-authority" in error.hint
        trusting = kubeconfig(
            tmp_path / "trusting", {"token": "t"}, server, **{"certificate-authority": "crt"}
        )
        # This server ends the connection after the TLS handshake.
        failing(lambda: connect(files=(trusting,)).read(KEY), StoreUnavailableError)


class tls_server:  # noqa: N801
    """A server that completes the TLS handshake and closes the connection."""

    def __init__(self, folder: Path) -> None:
        import ssl

        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "crt", folder / "key")

    def __enter__(self) -> str:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return f"https://127.0.0.1:{self._socket.getsockname()[1]}"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with (
                    suppress(OSError),
                    closing(connection),
                    self._context.wrap_socket(connection, server_side=True),
                ):
                    pass

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


def test_twenty_threads_share_one_client(store: KubernetesStore, kube: FakeKube) -> None:
    gate, failed = threading.Barrier(20), list[Exception]()

    def work(number: int) -> None:
        gate.wait()
        try:
            version = store.write(f"k{number}", b"0", expect=None)
            for value in range(5):
                version = store.write(f"k{number}", str(value).encode() * 2, expect=version)
        except Exception as error:  # noqa: BLE001 - shown below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and len(kube.fake_cluster.calls) == 120 and len(list(store.list("k"))) == 20


LOADING = """
import sys, {first}
from pathlib import Path
from backends.kubernetes.store import open_backend
store = open_backend({{"kubeconfig": sys.argv[1]}}, Path("/"), {{}}).store
assert store.read("state") is None
assert ("kubernetes.client.models.v1_pod" in sys.modules) is {whole}
from kubernetes import client, config
client.CoreV1Api(config.new_client_from_config(sys.argv[1])).list_namespaced_config_map("devstream")
"""


@pytest.mark.parametrize(("first", "whole"), [("os", False), ("kubernetes", True)])
def test_client_loads_without_models_for_dtm_only(kube: FakeKube, first: str, whole: bool) -> None:
    script = LOADING.format(first=first, whole=whole)
    done = subprocess.run(
        [sys.executable, "-c", script, kube.kubeconfig], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(kube.fake_cluster.calls) == 2
