"""A real kube-apiserver with its etcd: ConfigMaps, namespaces, roles.

There are no controllers, so nothing runs in it, and a deleted namespace stays in the state
Terminating. Each test therefore creates its own namespace.
"""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.processes import HOST, answers, free_ports, run, started

ADMIN, TEAM = "admintoken", "teamtoken"
KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: admin
clusters: [{{name: real, cluster: {{server: "{server}", certificate-authority: "{authority}"}}}}]
users: [{{name: admin, user: {{token: {admin}}}}}, {{name: team, user: {{token: {team}}}}}]
contexts:
- {{name: admin, context: {{cluster: real, user: admin, namespace: default}}}}
- {{name: team, context: {{cluster: real, user: team, namespace: default}}}}
"""


@dataclass(frozen=True, slots=True)
class Kube:
    """A running API server.

    The contexts of `kubeconfig` are `admin`, which may do everything, and `team`, which may do only
    what `grant` allows. `authority` is the file with the certificate of the server's authority.
    """

    title: str
    server: str
    kubeconfig: str
    authority: str
    token: str = ADMIN
    team_token: str = TEAM

    def client(self, context: str = "admin") -> Any:
        """Return the `CoreV1Api` of a context; the caller closes its `api_client`."""
        from kubernetes import client, config

        return client.CoreV1Api(config.new_client_from_config(self.kubeconfig, context))

    def namespace(self, name: str) -> str:
        """Create a namespace whose name begins with `name`."""
        api = self.client()
        with contextlib.closing(api.api_client):
            made = f"{name}-{uuid.uuid4().hex[:8]}"
            api.create_namespace({"metadata": {"name": made}})
        return made

    def grant(self, namespace: str, verbs: list[str]) -> None:
        """Allow `team` only these verbs on the ConfigMaps of a namespace; wait until that works."""
        from kubernetes import client

        api = self.client()
        with contextlib.closing(api.api_client):
            roles = client.RbacAuthorizationV1Api(api.api_client)
            rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}]
            roles.create_namespaced_role(namespace, {"metadata": {"name": "dtm"}, "rules": rules})
            subject = {"kind": "User", "name": "team", "apiGroup": "rbac.authorization.k8s.io"}
            role = {"kind": "Role", "name": "dtm", "apiGroup": "rbac.authorization.k8s.io"}
            binding = {"metadata": {"name": "dtm"}, "subjects": [subject], "roleRef": role}
            roles.create_namespaced_role_binding(namespace, binding)
            asked = {"namespace": namespace, "resource": "configmaps", "verb": verbs[0]}
            review = {"spec": {"user": "team", "resourceAttributes": asked}}
            access = client.AuthorizationV1Api(api.api_client)
            until = time.monotonic() + 30
            while not access.create_subject_access_review(review).status.allowed:
                assert time.monotonic() < until
                time.sleep(0.05)


@contextlib.contextmanager
def kube_apiserver(folder: Path, etcd: Path, apiserver: Path) -> Iterator[Kube]:
    """Run a server in the new directory `folder` until the block ends. Raises StartError."""
    pki = folder / "pki"
    pki.mkdir(parents=True)
    port, client_port, peer_port = free_ports(3)
    (pki / "tokens.csv").write_text(
        f'{ADMIN},admin,admin,"system:masters"\n{TEAM},team,team,"team"\n'
    )
    run(["openssl", "genrsa", "-out", pki / "accounts.key", "2048"], folder / "setup.log")
    store, server = f"http://{HOST}:{client_port}", f"https://{HOST}:{port}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            started(
                folder / "etcd.out", etcd, *_etcd_flags(folder, store, f"http://{HOST}:{peer_port}")
            )
        )
        program = stack.enter_context(
            started(folder / "apiserver.out", apiserver, *_flags(pki, store, port))
        )
        program.until(lambda: answers(f"{server}/readyz", {"Authorization": f"Bearer {ADMIN}"}))
        found = Kube(
            _title(folder, etcd, apiserver),
            server,
            str(folder / "kubeconfig"),
            str(pki / "apiserver.crt"),
        )
        text = KUBECONFIG.format(server=server, authority=found.authority, admin=ADMIN, team=TEAM)
        (folder / "kubeconfig").write_text(text)
        yield found


def _etcd_flags(folder: Path, client: str, peer: str) -> list[str]:
    urls = {"listen-client-urls": client, "advertise-client-urls": client, "listen-peer-urls": peer}
    flags = {
        **urls,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "data-dir": str(folder / "etcd"),
    }
    return [
        *(f"--{name}={value}" for name, value in flags.items()),
        "--unsafe-no-fsync",
        "--logger=zap",
        "--log-level=error",
    ]


def _flags(pki: Path, store: str, port: int) -> list[str]:
    key = pki / "accounts.key"
    flags = {
        "etcd-servers": store,
        "cert-dir": pki,
        "bind-address": HOST,
        "advertise-address": HOST,
        "secure-port": port,
        "insecure-port": 0,
        "service-cluster-ip-range": "10.0.0.0/24",
        "token-auth-file": pki / "tokens.csv",
        "authorization-mode": "RBAC",
        "disable-admission-plugins": "ServiceAccount",
        "v": 0,
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": key,
        "service-account-signing-key-file": key,
    }
    return [f"--{name}={value}" for name, value in flags.items()]


def _title(folder: Path, etcd: Path, apiserver: Path) -> str:
    versions = []
    for binary in (apiserver, etcd):
        found = re.search(
            r"(?:v|ersion: )(\d[\w.]+)", run([binary, "--version"], folder / "setup.log")
        )
        versions.append(found.group(1) if found else "of unknown version")
    return f"kube-apiserver {versions[0]}, etcd {versions[1]}"
