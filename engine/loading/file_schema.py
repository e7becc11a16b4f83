"""The schema of a configuration file. It accepts the file formats of all DevStream versions.

Each Struct is named after its section of the file (`ToolSection`). Checked sections become values
of `engine.config` (`ToolSpec`). Field texts are shown in the reference pages and the JSON Schema.
"""

# ruff: noqa: RUF012 - msgspec copies an empty default for each Struct that takes it

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from engine.schema import Field, Options

LATER: Final = frozenset({"plugins", "moved", "removed", "import"})
"""Top-level keys of later versions. If dtm ignored them, users would not notice."""


class LifecycleSection(Options, frozen=True, kw_only=True):
    """Protections of a tool."""

    prevent_destroy: Annotated[
        bool, Field("refuse every plan that would delete or replace the tool", example=True)
    ] = False


class TimeoutsSection(Options, frozen=True, kw_only=True):
    """Time limits of the operations of a tool."""

    read: Annotated[str | None, Field("time limit of one read", example="30s")] = None
    create: Annotated[str | None, Field("time limit of one create", example="10m")] = None
    update: Annotated[str | None, Field("time limit of one update", example="10m")] = None
    delete: Annotated[str | None, Field("time limit of one delete", example="10m")] = None


class ToolSection(Options, frozen=True, kw_only=True):
    """One tool instance."""

    name: Annotated[str, Field("the plugin", example="data")]
    instance_id: Annotated[
        str, Field("distinguishes the instances of a plugin", example="default")
    ] = msgspec.field(name="instanceID")
    depends_on: Annotated[
        list[str], Field("tools that must be done first: name.instanceID", example=["data.first"])
    ] = []
    options: Annotated[dict[str, Any], Field("the options of the plugin")] = {}
    lifecycle: Annotated[LifecycleSection | None, Field("protections of the tool")] = None
    timeouts: Annotated[TimeoutsSection | None, Field("time limits of its operations")] = None


class LockSection(Options, frozen=True, kw_only=True):
    """The lock that keeps two runs from writing one state at the same time."""

    kind: Annotated[
        Literal["auto", "dynamodb", "native", "both", "none"],
        Field("the kind of lock", example="auto"),
    ] = "auto"
    url: Annotated[
        str, Field("a lock in another store", example="dynamodb://locks/app?region=eu-west-1")
    ] = ""
    lease: Annotated[
        str | None,
        Field("how long a lock stays valid without renewal; at most 24h", example="30s"),
    ] = None


class StateSection(Options, frozen=True, kw_only=True):
    """The place of the state."""

    backend: Annotated[str, Field("the kind of store", example="local")]
    options: Annotated[
        dict[str, Any],
        Field("the options of the backend", example={"stateFile": "devstream.state"}),
    ] = {}
    lock: Annotated[LockSection | None, Field("the lock that keeps two runs apart")] = None
    log: Annotated[
        Literal["auto", "beside", "inline"], Field("where the commit log is stored", example="auto")
    ] = "auto"
    history: Annotated[int, Field("how many older snapshots to keep", ge=0, example=30)] = 30


class SettingsSection(Options, frozen=True, kw_only=True):
    """The section `config:`. Its keys may also be written at the top level of the file."""

    state: Annotated[StateSection | str | None, Field("where the state is: a map, or its URL")] = (
        None
    )
    plugin_dir: Annotated[
        str, Field("where downloaded plugins are", example=".devstream/plugins")
    ] = ""
    var_file: Annotated[str, Field("a file of variables", example="variables.yaml")] = ""
    tool_file: Annotated[str, Field("another configuration file to read", example="tools.yaml")] = (
        ""
    )


class ValidationSection(Options, frozen=True, kw_only=True):
    """Rules for the value of a variable."""

    pattern: Annotated[
        str, Field("a regular expression that the value must match", example="^v[0-9]+$")
    ] = ""
    one_of: Annotated[list[Any], Field("the allowed values", example=["dev", "prod"])] = []
    min: Annotated[float | None, Field("the minimum, or the minimum length", example=1)] = None
    max: Annotated[float | None, Field("the maximum, or the maximum length", example=9)] = None
    message: Annotated[
        str, Field("the error message if a rule is broken", example="must be a version like v1")
    ] = ""


class VariableSection(Options, frozen=True, kw_only=True):
    """The declaration of a variable."""

    type: Annotated[
        Literal["any", "string", "number", "bool", "list", "map"],
        Field("the type of its value", example="string"),
    ] = "any"
    default: Annotated[Any, Field("the value if no other source gives one", example="main")] = (
        msgspec.UNSET
    )
    description: Annotated[
        str, Field("its purpose, shown if its value is missing", example="the main branch")
    ] = ""
    sensitive: Annotated[bool, Field("never show or store its value", example=False)] = False
    validation: Annotated[ValidationSection | None, Field("rules for its value")] = None


class RepositorySection(Options, frozen=True, kw_only=True):
    """A git repository of an app."""

    name: Annotated[
        str, Field("its name; for repo, the default is the name of the app", example="my-app")
    ] = ""
    owner: Annotated[str, Field("the user account that owns it", example="me")] = ""
    org: Annotated[str, Field("the organization or group, instead of owner", example="my-org")] = ""
    branch: Annotated[str, Field("the main branch", example="main")] = ""
    scm_type: Annotated[str, Field("the kind of host", example="github")] = ""
    token: Annotated[str | None, Field("the access token", secret=True)] = None
    url: Annotated[
        str,
        Field("its URL, instead of owner and name", example="https://github.com/me/my-app"),
    ] = ""
    api_url: Annotated[str, Field("the URL of the API of a self-hosted server")] = msgspec.field(
        default="", name="apiURL"
    )
    base_url: Annotated[str, Field("the URL of a self-hosted server")] = msgspec.field(
        default="", name="baseURL"
    )
    visibility: Annotated[str, Field("public or private", example="private")] = ""
    name_space: Annotated[str, Field("the group on the server")] = ""
    ssh_private_key: Annotated[str | None, Field("the private key for SSH", secret=True)] = None


class TemplateRepositorySection(RepositorySection, frozen=True, kw_only=True):
    """The repository that an app starts from."""

    vars: Annotated[dict[str, Any], Field("variables for its template files")] = {}


PipelineType = Literal["github-actions", "gitlab-ci", "jenkins-pipeline", "argocdapp"]


class StepSection(Options, frozen=True, kw_only=True):
    """One `ci` or `cd` entry of an app."""

    type: Annotated[
        Literal["template", "github-actions", "gitlab-ci", "jenkins-pipeline", "argocdapp"],
        Field("the plugin, or template", example="template"),
    ]
    template_name: Annotated[
        str, Field("the name of a pipeline template, for type template", example="ci")
    ] = ""
    options: Annotated[dict[str, Any], Field("options; they override those of the template")] = {}
    vars: Annotated[
        dict[str, Any], Field("variables for the template; they override all others")
    ] = {}


class PipelineTemplateSection(Options, frozen=True, kw_only=True):
    """A named pipeline that apps share."""

    name: Annotated[str, Field("the name that apps refer to", example="ci")]
    type: Annotated[PipelineType, Field("the plugin", example="github-actions")]
    options: Annotated[dict[str, Any], Field("the options of the plugin's pipeline")] = {}


class SpecSection(Options, frozen=True, kw_only=True):
    """The language and framework of an app."""

    language: Annotated[str, Field("the programming language", example="go")] = ""
    framework: Annotated[str, Field("the framework", example="gin")] = ""


class AppSection(Options, frozen=True, kw_only=True):
    """An application: a repository, where it starts from, and its pipelines."""

    name: Annotated[str, Field("the name of the app", example="my-app")]
    spec: Annotated[SpecSection | None, Field("its language and framework")] = None
    repo: Annotated[RepositorySection, Field("its repository")]
    repo_template: Annotated[
        TemplateRepositorySection | None, Field("the repository that it starts from")
    ] = None
    ci: Annotated[list[StepSection], Field("its build pipelines")] = []
    cd: Annotated[list[StepSection], Field("its delivery pipelines")] = []


class ConfigFile(SettingsSection, frozen=True, kw_only=True):
    """A configuration file, or one `---` document of it."""

    config: Annotated[
        SettingsSection | None, Field("settings; they may also be written at the top level")
    ] = None
    vars: Annotated[dict[str, Any], Field("variables and their values")] = {}
    variables: Annotated[dict[str, VariableSection], Field("declarations of variables")] = {}
    tools: Annotated[list[ToolSection], Field("the tools")] = []
    apps: Annotated[list[AppSection], Field("applications, each expanded into tools")] = []
    pipeline_templates: Annotated[
        list[PipelineTemplateSection], Field("pipelines that apps share")
    ] = []
    outputs: Annotated[dict[str, Any], Field("values to show after apply")] = {}
