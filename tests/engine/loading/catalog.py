"""A catalog of fake plugins for tests of the configuration."""

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

import msgspec

from engine.schema import Field, Options, Outputs, PluginSchema

AnyMap = dict[str, Any]


class Data(Options, frozen=True, kw_only=True):
    input: Any = None
    triggers_replace: Annotated[Any, Field("", replace=True)] = None


class File(Options, frozen=True, kw_only=True):
    path: Annotated[str, Field("", replace=True)]
    content: str = ""
    mode: Annotated[str, Field("", pattern="^[0-7]{3,4}$")] = "0644"
    tags: list[str] = msgspec.field(default_factory=list[str])
    size: Annotated[int, Field("", ge=0)] = 0
    executable: bool = False
    kind: Literal["text", "binary"] = "text"
    labels: dict[str, str] = msgspec.field(default_factory=dict[str, str])


class FileOutputs(Outputs, frozen=True, kw_only=True):
    path: str
    sha256: str


class Login(Options, frozen=True, kw_only=True):
    user: str
    token: Annotated[str, Field("", secret=True, env="LOGIN_TOKEN")]


class Owned(Options, frozen=True, kw_only=True):
    owner: str = ""
    org: str = ""

    def __post_init__(self) -> None:
        if self.owner and self.org:
            raise ValueError("owner and org cannot both be given")


class Scaffold(Options, frozen=True, kw_only=True):
    owner: str = ""
    org: str = ""
    repo: str = ""
    branch: str = ""
    image_repo: str = ""
    destination_repo: AnyMap = msgspec.field(default_factory=AnyMap)
    source_repo: AnyMap = msgspec.field(default_factory=AnyMap)
    vars: AnyMap = msgspec.field(default_factory=AnyMap)


class ScaffoldOutputs(Outputs, frozen=True, kw_only=True):
    owner: str
    org: str
    repo: str
    repo_url: str = msgspec.field(name="repoURL")


class Pipeline(Options, frozen=True, kw_only=True):
    owner: str = ""
    org: str = ""
    repo: str = ""
    branch: str = ""
    language: AnyMap = msgspec.field(default_factory=AnyMap)
    build: AnyMap = msgspec.field(default_factory=AnyMap)
    test: AnyMap = msgspec.field(default_factory=AnyMap)
    docker: AnyMap = msgspec.field(default_factory=AnyMap)
    scm: AnyMap = msgspec.field(default_factory=AnyMap)
    pipeline: AnyMap = msgspec.field(default_factory=AnyMap)
    runner: AnyMap = msgspec.field(default_factory=AnyMap)
    jenkins: AnyMap = msgspec.field(default_factory=AnyMap)


class Issues(Options, frozen=True, kw_only=True):
    owner: str = ""
    repo: str = ""
    branch: str = ""
    kanban_board_name: str = ""
    board_id: str = ""
    todo_list_id: str = ""
    doing_list_id: str = ""
    done_list_id: str = ""
    jira_base_url: str = ""
    jira_user_email: str = ""
    jira_project_key: str = ""
    board: AnyMap = msgspec.field(default_factory=AnyMap)
    scm: AnyMap = msgspec.field(default_factory=AnyMap)


class Chart(Options, frozen=True, kw_only=True):
    create_namespace: bool = False
    repo: AnyMap = msgspec.field(default_factory=AnyMap)
    chart: AnyMap = msgspec.field(default_factory=AnyMap)
    values_yaml: str = ""


class Delivery(Options, frozen=True, kw_only=True):
    app: AnyMap
    destination: AnyMap
    source: AnyMap
    image_repo: AnyMap = msgspec.field(default_factory=AnyMap)


class Foo(Options, frozen=True, kw_only=True):
    foo: Any = None
    foo1: Any = None
    foo2: Any = None


_KNOWN: dict[str, tuple[type[Options], type[Outputs] | None]] = {
    "data": (Data, None),
    "file": (File, FileOutputs),
    "login": (Login, None),
    "owned": (Owned, None),
    "plugin1": (Foo, None),
    "plugin2": (Foo, None),
    "repo-scaffolding": (Scaffold, ScaffoldOutputs),
    "github-repo-scaffolding-golang": (Scaffold, ScaffoldOutputs),
    "github-actions": (Pipeline, None),
    "githubactions-golang": (Pipeline, None),
    "gitlab-ci": (Pipeline, None),
    "jenkins-pipeline": (Pipeline, None),
    "jira-github-integ": (Issues, None),
    "trello": (Issues, None),
    "trello-github-integ": (Issues, None),
    "argocd": (Chart, None),
    "helm-installer": (Chart, None),
    "argocdapp": (Delivery, None),
}


class FakeCatalog:
    """A catalog of the plugins above. It lists zentao as a plugin that is not shipped."""

    def find(self, name: str) -> PluginSchema | None:
        if name not in _KNOWN:
            return None
        options, outputs = _KNOWN[name]
        return PluginSchema(name, name, options, outputs)

    def names(self) -> Sequence[str]:
        return list(_KNOWN)

    def unshipped(self) -> Collection[str]:
        return {"zentao"}


class Local(Options, frozen=True, kw_only=True):
    state_file: str = ""


class Bucket(Options, frozen=True, kw_only=True):
    bucket: str
    key: str
    region: str = ""
    endpoint: str = ""
    dynamodb_table: str = ""
    use_path_style: bool = False
    secret: Annotated[str, Field("", secret=True)] = ""


class ConfigMap(Options, frozen=True, kw_only=True):
    namespace: str = "devstream"
    configmap: str = "state"


class FakeBackends:
    """A catalog of state backends. It lists gcs as a backend that is not shipped."""

    def find(self, name: str) -> PluginSchema | None:
        known: dict[str, type[Options]] = {
            "local": Local,
            "s3": Bucket,
            "k8s": ConfigMap,
            "kubernetes": ConfigMap,
        }
        return (
            PluginSchema(name, "kubernetes" if name == "k8s" else name, known[name])
            if name in known
            else None
        )

    def names(self) -> Sequence[str]:
        return ["local", "s3", "kubernetes", "k8s"]

    def unshipped(self) -> Collection[str]:
        return {"gcs"}
