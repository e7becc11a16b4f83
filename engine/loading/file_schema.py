"""The shape of a configuration file: one schema for every form that DevStream ever had.

Each Struct is named for its section of the file (`ToolSection`); what a section becomes once it
is checked is a value of `engine.config` (`ToolSpec`). Field texts show up in the reference pages
and the JSON Schema.
"""

# ruff: noqa: RUF012 - msgspec copies an empty default for each Struct that takes it

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from engine.schema import Field, Options

LATER: Final = frozenset({"plugins", "moved", "removed", "import"})
"""Top-level keys of later versions: refused, since a key that does nothing would be worse."""


class LifecycleSection(Options, frozen=True, kw_only=True):
    """Protections of a tool."""

    prevent_destroy: Annotated[
        bool, Field("refuse every plan that would delete or replace it", example=True)
    ] = False


class TimeoutsSection(Options, frozen=True, kw_only=True):
    """How long one operation may take."""

    read: Annotated[str | None, Field("of one read", example="30s")] = None
    create: Annotated[str | None, Field("of one create", example="10m")] = None
    update: Annotated[str | None, Field("of one update", example="10m")] = None
    delete: Annotated[str | None, Field("of one delete", example="10m")] = None


class ToolSection(Options, frozen=True, kw_only=True):
    """One tool instance."""

    name: Annotated[str, Field("the plugin", example="data")]
    instance_id: Annotated[
        str, Field("tells several uses of a plugin apart", example="default")
    ] = msgspec.field(name="instanceID")
    depends_on: Annotated[
        list[str], Field("what must be done first, as name.instanceID", example=["data.first"])
    ] = []
    options: Annotated[dict[str, Any], Field("what the plugin is told")] = {}
    lifecycle: Annotated[LifecycleSection | None, Field("what may happen to it")] = None
    timeouts: Annotated[TimeoutsSection | None, Field("how long its operations may take")] = None


class LockSection(Options, frozen=True, kw_only=True):
    """How writers of one state keep out of each other's way."""

    kind: Annotated[
        Literal["auto", "dynamodb", "native", "both", "none"], Field("which lock", example="auto")
    ] = "auto"
    url: Annotated[
        str, Field("a lock in another store", example="dynamodb://locks/app?region=eu-west-1")
    ] = ""
    lease: Annotated[
        str | None,
        Field("how long a holder that does not renew is believed; at most 24h", example="30s"),
    ] = None


class StateSection(Options, frozen=True, kw_only=True):
    """Where the state is."""

    backend: Annotated[str, Field("the kind of store", example="local")]
    options: Annotated[
        dict[str, Any], Field("what the store is told", example={"stateFile": "devstream.state"})
    ] = {}
    lock: Annotated[LockSection | None, Field("how writers keep out of each other's way")] = None
    log: Annotated[
        Literal["auto", "beside", "inline"], Field("where the commit log is", example="auto")
    ] = "auto"
    history: Annotated[int, Field("how many older snapshots are kept", ge=0, example=30)] = 30


class SettingsSection(Options, frozen=True, kw_only=True):
    """`config:`, whose keys may also stand at the top of the file."""

    state: Annotated[StateSection | str | None, Field("where the state is: a map, or its URL")] = (
        None
    )
    plugin_dir: Annotated[
        str, Field("where downloaded plugins are", example=".devstream/plugins")
    ] = ""
    var_file: Annotated[str, Field("a file of variables", example="variables.yaml")] = ""
    tool_file: Annotated[
        str, Field("a file with more of the configuration", example="tools.yaml")
    ] = ""


class ValidationSection(Options, frozen=True, kw_only=True):
    """Rules for the value of a variable."""

    pattern: Annotated[
        str, Field("a regular expression that the text must match", example="^v[0-9]+$")
    ] = ""
    one_of: Annotated[list[Any], Field("the values allowed", example=["dev", "prod"])] = []
    min: Annotated[float | None, Field("the least number, or the least length", example=1)] = None
    max: Annotated[
        float | None, Field("the greatest number, or the greatest length", example=9)
    ] = None
    message: Annotated[str, Field("what to say instead", example="must be a version like v1")] = ""


class VariableSection(Options, frozen=True, kw_only=True):
    """The declaration of a variable."""

    type: Annotated[
        Literal["any", "string", "number", "bool", "list", "map"],
        Field("of its value", example="string"),
    ] = "any"
    default: Annotated[Any, Field("the value if nothing else gives one", example="main")] = (
        msgspec.UNSET
    )
    description: Annotated[
        str, Field("what it is for; said where its value is missing", example="the main branch")
    ] = ""
    sensitive: Annotated[bool, Field("never show or store it", example=False)] = False
    validation: Annotated[ValidationSection | None, Field("what its value must look like")] = None


class RepositorySection(Options, frozen=True, kw_only=True):
    """A git repository of an app."""

    name: Annotated[str, Field("of the repository; the app's name if absent", example="my-app")] = (
        ""
    )
    owner: Annotated[str, Field("a person's account", example="me")] = ""
    org: Annotated[str, Field("an organisation or group, instead of owner", example="my-org")] = ""
    branch: Annotated[str, Field("the main branch", example="main")] = ""
    scm_type: Annotated[str, Field("where it is hosted", example="github")] = ""
    token: Annotated[str | None, Field("credential", secret=True)] = None
    url: Annotated[
        str,
        Field(
            "of the repository, instead of owner and name", example="https://github.com/me/my-app"
        ),
    ] = ""
    api_url: Annotated[str, Field("of a self-hosted server's API")] = msgspec.field(
        default="", name="apiURL"
    )
    base_url: Annotated[str, Field("of a self-hosted server")] = msgspec.field(
        default="", name="baseURL"
    )
    visibility: Annotated[str, Field("public or private", example="private")] = ""
    name_space: Annotated[str, Field("a group on the server")] = ""
    ssh_private_key: Annotated[str | None, Field("credential", secret=True)] = None


class TemplateRepositorySection(RepositorySection, frozen=True, kw_only=True):
    """The repository that an app starts from."""

    vars: Annotated[dict[str, Any], Field("values for its files")] = {}


PipelineType = Literal["github-actions", "gitlab-ci", "jenkins-pipeline", "argocdapp"]


class StepSection(Options, frozen=True, kw_only=True):
    """One `ci` or `cd` entry of an app."""

    type: Annotated[
        Literal["template", "github-actions", "gitlab-ci", "jenkins-pipeline", "argocdapp"],
        Field("a plugin, or template", example="template"),
    ]
    template_name: Annotated[
        str, Field("one of pipelineTemplates, for type template", example="ci")
    ] = ""
    options: Annotated[dict[str, Any], Field("laid over the template's options")] = {}
    vars: Annotated[dict[str, Any], Field("variables of the template, before all others")] = {}


class PipelineTemplateSection(Options, frozen=True, kw_only=True):
    """A named pipeline that apps share."""

    name: Annotated[str, Field("that apps call it by", example="ci")]
    type: Annotated[PipelineType, Field("the plugin", example="github-actions")]
    options: Annotated[dict[str, Any], Field("of the plugin's pipeline")] = {}


class SpecSection(Options, frozen=True, kw_only=True):
    """The language and framework of an app."""

    language: Annotated[str, Field("it is written in", example="go")] = ""
    framework: Annotated[str, Field("it uses", example="gin")] = ""


class AppSection(Options, frozen=True, kw_only=True):
    """An application: a repository, where it starts from, and its pipelines."""

    name: Annotated[str, Field("of the app", example="my-app")]
    spec: Annotated[SpecSection | None, Field("what it is made of")] = None
    repo: Annotated[RepositorySection, Field("its repository")]
    repo_template: Annotated[
        TemplateRepositorySection | None, Field("the repository that it starts from")
    ] = None
    ci: Annotated[list[StepSection], Field("its build pipelines")] = []
    cd: Annotated[list[StepSection], Field("its delivery pipelines")] = []


class ConfigFile(SettingsSection, frozen=True, kw_only=True):
    """A configuration file, or one `---` document of it."""

    config: Annotated[
        SettingsSection | None, Field("settings; may stand at the top level as well")
    ] = None
    vars: Annotated[dict[str, Any], Field("variables and their values")] = {}
    variables: Annotated[dict[str, VariableSection], Field("declarations of variables")] = {}
    tools: Annotated[list[ToolSection], Field("the tools")] = []
    apps: Annotated[list[AppSection], Field("applications, each expanded into tools")] = []
    pipeline_templates: Annotated[
        list[PipelineTemplateSection], Field("pipelines that apps share")
    ] = []
    outputs: Annotated[dict[str, Any], Field("values to show after apply")] = {}
