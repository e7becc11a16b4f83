"""The expansion of `apps:`: each app becomes tools for its repository, builds and deliveries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from engine.address import Address
from engine.language.expressions import RawValue
from engine.language.references import Reference
from engine.language.yaml import FilePlace
from engine.loading import file_schema
from engine.loading.files import Files, Section
from engine.loading.problems import Report, describe_kind
from engine.loading.tools import UNSETTLED, describe_unsettled
from engine.loading.variables import Scope
from engine.options.decode import decode, format_path
from engine.options.fields import fold_name, get_by_spelling
from engine.suggestions import suggest
from engine.values import Attributes, Unknown, Value, ValuePath, find_leaves

SCAFFOLDING: Final = "repo-scaffolding"
_LIFTED: Final = ("jenkins", "runner")
"""Pipeline options that become options of the tool itself."""
_HOSTS: Final = {"github": "https://github.com", "gitlab": "https://gitlab.com"}


class ExpandedTool(msgspec.Struct, frozen=True):
    """A tool that an app expands to, in the form of an entry of `tools:`, and the app's place."""

    value: RawValue
    place: FilePlace


class _Template(msgspec.Struct, frozen=True):
    type: str
    options: RawValue


class _Step(msgspec.Struct, frozen=True):
    """One entry of `ci` or `cd`, with its template applied."""

    type: str
    options: dict[str, Value]


def expand_apps(files: Files, scope: Scope, tools: Sequence[str]) -> Iterator[ExpandedTool]:
    """Yield the tools of every app: each build, each delivery, then the repository.

    All of them depend on `tools`, a list of name.instanceID.
    """
    templates = dict(_read_templates(files, scope))
    for section in files.items("apps"):
        app = _resolve_app(section, scope, templates)
        for tool in app.tools(tools) if app else ():
            yield ExpandedTool(tool, section.place)


def _read_templates(files: Files, scope: Scope) -> Iterator[tuple[str, _Template]]:
    """Yield the pipeline templates by name; report invalid and repeated ones."""
    first: dict[str, FilePlace] = {}
    for section in files.items("pipelineTemplates"):
        if not isinstance(section.value, dict):
            kind = describe_kind(section.value)
            message = f"a pipeline template must be a map with name, type and options, not {kind}"
            files.report.add(section.place.at(), message)
            continue
        # Options are rendered later, once for each step: a step has its own variables.
        rest = {key: item for key, item in section.value.items() if fold_name(key) != "options"}
        found, sound = _decode_section(
            scope.render(rest), file_schema.PipelineTemplateSection, section.place, files.report
        )
        if not sound:
            continue
        name = str(found["name"])
        if name in first:
            files.report.add(
                section.place.at(),
                f'pipeline template "{name}" is given twice, first at {first[name].at()}',
                "give one of the two another name",
            )
        else:
            first[name] = section.place
            yield name, _Template(str(found["type"]), get_by_spelling(section.value, "options"))


def _decode_section(
    value: RawValue,
    struct: type[file_schema.AppSection | file_schema.PipelineTemplateSection],
    place: FilePlace,
    report: Report,
) -> tuple[Attributes, bool]:
    """Decode a map by its Struct. The second result is False if it has a problem."""
    if not isinstance(value, dict):
        report.add(
            place.at(), f"an app must be a map with name and repo, not {describe_kind(value)}"
        )
        return {}, False
    before = len(report.problems)
    found, faults = decode(value, struct, env={}, noun="key")
    report.add_faults(place.at, faults)
    for path, kind in _unsettled(found):
        report.add(place.at(*path), *describe_unsettled(format_path(path), {kind}))
    return found, len(report.problems) == before and not find_leaves(value, Unknown)


def _as_map(value: Value) -> dict[str, Value]:
    return value if isinstance(value, dict) else {}


def _as_list(value: Value) -> list[Value]:
    return value if isinstance(value, list) else []


def _resolve_app(section: Section, scope: Scope, templates: Mapping[str, _Template]) -> _App | None:
    rendered = scope.render(section.value)
    found, sound = _decode_section(rendered, file_schema.AppSection, section.place, scope.report)
    if not sound:
        return None
    # `vars` and the options of steps are taken from the rendered value, not from the decoded one:
    # decoding turns the literal 1.10 into the number 1.1, which is wrong inside a longer text.
    written = _as_map(rendered)
    spec = {key: value for key, value in _as_map(found.get("spec")).items() if value != ""}
    resolver = _StepResolver(scope, templates, spec)
    template = found.get("repoTemplate")
    return _App(
        str(found["name"]),
        spec,
        {"name": str(found["name"]), **_as_map(found["repo"])},
        template if isinstance(template, dict) else None,
        _as_map(get_by_spelling(_as_map(get_by_spelling(written, "repoTemplate")), "vars")),
        resolver.steps(found.get("ci"), get_by_spelling(written, "ci"), section.place.step("ci")),
        resolver.steps(found.get("cd"), get_by_spelling(written, "cd"), section.place.step("cd")),
    )


def _unsettled(app: Attributes) -> Iterator[tuple[ValuePath, type]]:
    """Yield the paths in the structure of an app that have an `UNSETTLED` value, and its type.

    The structure decides which tools exist, so dtm needs it before it knows any output.
    """
    for key in ("name", "type", "spec", "repo", "repoTemplate", "ci", "cd"):
        yield from _if_unsettled((key,), app.get(key))
    for kind in ("ci", "cd"):
        for index, step in enumerate(_as_list(app.get(kind))):
            yield from _if_unsettled((kind, index), step)
            for key, value in _as_map(step).items():
                yield from _if_unsettled((kind, index, key), value)


def _if_unsettled(path: ValuePath, value: Value) -> Iterator[tuple[ValuePath, type]]:
    if type(value) in UNSETTLED:
        yield path, type(value)


class _StepResolver(msgspec.Struct, frozen=True):
    """A resolver that turns the `ci` and `cd` entries of one app into steps."""

    scope: Scope
    templates: Mapping[str, _Template]
    spec: Mapping[str, Value]

    def steps(self, decoded: Value, written: RawValue, place: FilePlace) -> list[_Step]:
        """Resolve a list of entries. An invalid entry is reported and left out."""
        pairs = zip(_as_list(decoded), _as_list(written), strict=True)
        found = [
            self._resolve_step(_as_map(step), _as_map(raw), place.step(index))
            for index, (step, raw) in enumerate(pairs)
        ]
        return [step for step in found if step]

    def _resolve_step(
        self, step: dict[str, Value], raw: dict[str, RawValue], place: FilePlace
    ) -> _Step | None:
        kind, name = str(step["type"]), str(step.get("templateName", ""))
        own, report = _as_map(get_by_spelling(raw, "options")), self.scope.report
        if kind != "template":
            if name:
                report.add(
                    place.at("templateName"),
                    f'key "templateName" requires type "template", but the type is "{kind}"',
                    "write type: template, or remove templateName",
                )
            return _Step(kind, own)
        template = self.templates.get(name) if name else None
        if template:
            # The options of a template are rendered for each step, with the variables of the step.
            inside = self.scope.nested(
                before=_as_map(get_by_spelling(raw, "vars")), after=self.spec
            )
            return _Step(template.type, merge_maps(_as_map(inside.render(template.options)), own))
        hint = suggest(name, list(self.templates))
        if name:
            missing = f'unknown pipeline template "{name}"'
            report.add(place.at("templateName"), missing, hint)
        else:
            report.add(place.at(), 'key "templateName" is required for type "template"', hint)
        return None


def merge_maps(below: dict[str, Value], above: dict[str, Value]) -> dict[str, Value]:
    """Merge two maps key by key, at all depths. `above` wins; lists are replaced, not merged."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = (
            merge_maps(under, value)
            if isinstance(under, dict) and isinstance(value, dict)
            else value
        )
    return merged


class _App(msgspec.Struct, frozen=True):
    """An app whose sections are checked and whose steps are resolved."""

    name: str
    spec: dict[str, Value]
    repository: dict[str, Value]
    template: dict[str, Value] | None
    variables: dict[str, Value]
    ci: list[_Step]
    cd: list[_Step]

    def tools(self, others: Sequence[str]) -> Iterator[RawValue]:
        """Yield entries of `tools:`. Deliveries depend on builds, and both on the repository."""
        first = (
            [f"{SCAFFOLDING}.{self.name}", *others] if self.template is not None else list(others)
        )
        # One count for ci and cd: both may use the same plugin, and addresses must differ.
        used: dict[str, int] = {}
        builds: list[str] = []
        for step in self.ci:
            tool = self._step_tool(step, self._instance_id(step, used), first)
            builds.append(f"{step.type}.{tool['instanceID']}")
            yield tool
        for step in self.cd:
            yield self._step_tool(step, self._instance_id(step, used), [*first, *builds])
        if self.template is not None:
            source = {key: value for key, value in self.template.items() if key != "vars"}
            options: dict[str, Value] = {
                "destinationRepo": self.repository,
                "sourceRepo": source,
                "vars": self.variables,
            }
            yield _tool_entry(SCAFFOLDING, self.name, others, options)

    def _instance_id(self, step: _Step, used: dict[str, int]) -> str:
        """Return the instance ID of a step: the app's name, numbered from the second use on."""
        used[step.type] = used.get(step.type, 0) + 1
        return self.name if used[step.type] == 1 else f"{self.name}-{used[step.type]}"

    def _step_tool(self, step: _Step, instance: str, depends_on: Iterable[str]) -> dict[str, Value]:
        options = (
            self._delivery_options(step)
            if step.type == "argocdapp"
            else self._pipeline_options(step)
        )
        return _tool_entry(step.type, instance, depends_on, options)

    def _pipeline_options(self, step: _Step) -> dict[str, Value]:
        """Build the options of a build: the pipeline, the repository and the lifted options."""
        lifted: dict[str, Value] = {
            key: step.options[key] for key in _LIFTED if key in step.options
        }
        rest = {key: value for key, value in step.options.items() if key not in lifted}
        language = {
            key: self.spec[name]
            for key, name in (("name", "language"), ("framework", "framework"))
            if name in self.spec
        }
        pipeline = merge_maps({"language": language}, rest) if language else rest
        return {"pipeline": pipeline, "scm": self.repository, **lifted}

    def _delivery_options(self, step: _Step) -> dict[str, Value]:
        """Build the options of a delivery: defaults from the app, overridden by the step."""
        source: dict[str, Value] = {
            "valuefile": "values.yaml",
            "path": f"helm/{self.name}",
            "repoURL": self._clone_url(),
            "repoBranch": self.repository.get("branch"),
            "token": self.repository.get("token"),
        }
        defaults: dict[str, Value] = {
            "app": {"name": self.name, "namespace": "argocd"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"},
            "source": {key: value for key, value in source.items() if value not in (None, "")},
        }
        # A delivery deploys one image: that of the first build that has one.
        images = [
            _without_password(build.options["imageRepo"])
            for build in self.ci
            if "imageRepo" in build.options
        ]
        return merge_maps(defaults | {"imageRepo": images[0]} if images else defaults, step.options)

    def _clone_url(self) -> Value:
        """Return the URL of the repository, or a reference to it; "" if it is not known."""
        if self.template is not None:
            # A reference makes the delivery depend on the repository and use its real URL.
            text = f"${{{{ {SCAFFOLDING}.{self.name}.outputs.repoURL }}}}"
            return Reference(Address(SCAFFOLDING, self.name), ("repoURL",), text)
        url, host, owner, org, kind = (
            self.repository.get(key, "") for key in ("url", "baseURL", "owner", "org", "scmType")
        )
        if url != "":
            # DevStream accepts github.com/me/web without a scheme. Argo CD does not.
            complete = (
                not isinstance(url, str) or "://" in url or "@" in url or url.startswith(("/", "."))
            )
            return url if complete else f"https://{url}"
        server, account = (
            host if host != "" else _HOSTS.get(str(kind), _HOSTS["github"]),
            owner if owner != "" else org,
        )
        known = isinstance(server, str) and isinstance(account, str) and account != ""
        return f"{server}/{account}/{self.repository['name']}.git" if known else ""


def _without_password(image: Value) -> Value:
    """Remove the password of an image: pushing needs it, deploying does not."""
    return (
        {key: value for key, value in image.items() if key != "password"}
        if isinstance(image, dict)
        else image
    )


def _tool_entry(
    name: str, instance: str, depends_on: Iterable[str], options: dict[str, Value]
) -> dict[str, Value]:
    return {"name": name, "instanceID": instance, "dependsOn": list(depends_on), "options": options}
