"""The expansion of `apps:`: each becomes tools, a repository with its builds and deliveries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from engine.address import Address
from engine.language.expressions import Raw
from engine.language.references import Interpolation, Reference
from engine.language.yaml import FilePlace
from engine.loading import file_schema
from engine.loading.files import Files, Section
from engine.loading.problems import Report
from engine.loading.variables import Scope
from engine.options.decode import decode
from engine.options.fields import folded, spelled
from engine.suggestions import nearest
from engine.values import Attributes, Secret, Steps, Unknown, Value, leaves_of

SCAFFOLDING: Final = "repo-scaffolding"
_LIFTED: Final = ("jenkins", "runner")
"""Pipeline options that are options of the tool itself."""
_UNSETTLED: Final = (Reference, Interpolation, Secret)
_HOSTS: Final = {"github": "https://github.com", "gitlab": "https://gitlab.com"}


class ExpandedTool(msgspec.Struct, frozen=True):
    """A tool that stems from an app: the entry of `tools:` that it equals, and the app's place."""

    value: Raw
    place: FilePlace


class _Template(msgspec.Struct, frozen=True):
    type: str
    options: Raw


class _Step(msgspec.Struct, frozen=True):
    """One entry of ci or cd, its template applied."""

    type: str
    options: dict[str, Value]


def expand(files: Files, scope: Scope, tools: Sequence[str]) -> Iterator[ExpandedTool]:
    """Yield the tools of every app: each ci, each cd, then the repository.

    All of them wait for `tools`, which are given as name.instanceID.
    """
    templates = dict(_templates(files, scope))
    for section in files.items("apps"):
        app = _app(section, scope, templates)
        for tool in app.tools(tools) if app else ():
            yield ExpandedTool(tool, section.place)


def _templates(files: Files, scope: Scope) -> Iterator[tuple[str, _Template]]:
    first: dict[str, FilePlace] = {}
    for section in files.items("pipelineTemplates"):
        if not isinstance(section.value, dict):
            files.report.add(
                section.place.at(), "a pipeline template is a map with name, type and options"
            )
            continue
        # Options are rendered for each step, which has variables of its own.
        rest = {key: item for key, item in section.value.items() if folded(key) != "options"}
        found, sound = _decoded(
            scope.render(rest), file_schema.PipelineTemplateSection, section.place, files.report
        )
        if not sound:
            continue
        name = str(found["name"])
        if name in first:
            files.report.add(
                section.place.at(),
                f'pipeline template "{name}" is given twice, first at {first[name].at()}',
            )
        else:
            first[name] = section.place
            yield name, _Template(str(found["type"]), spelled(section.value, "options"))


def _decoded(
    value: Raw,
    struct: type[file_schema.AppSection | file_schema.PipelineTemplateSection],
    place: FilePlace,
    report: Report,
) -> tuple[Attributes, bool]:
    """Decode a map by its Struct; the flag is True if nothing is wrong with it."""
    if not isinstance(value, dict):
        report.add(place.at(), "an app is a map with name and repo")
        return {}, False
    before = len(report.problems)
    found, faults = decode(value, struct, env={}, noun="key")
    report.add_faults(place.at, faults)
    for path in _unsettled(found):
        report.add(
            place.at(*path),
            "this must be known from the start: no ${{ }} and nothing sensitive here",
        )
    return found, len(report.problems) == before and not leaves_of(value, Unknown)


def _map(value: Value) -> dict[str, Value]:
    return value if isinstance(value, dict) else {}


def _list(value: Value) -> list[Value]:
    return value if isinstance(value, list) else []


def _app(section: Section, scope: Scope, templates: Mapping[str, _Template]) -> _App | None:
    rendered = scope.render(section.value)
    found, sound = _decoded(rendered, file_schema.AppSection, section.place, scope.report)
    if not sound:
        return None
    written = _map(rendered)
    spec = {key: value for key, value in _map(found.get("spec")).items() if value != ""}
    resolver = _StepResolver(scope, templates, spec)
    template = found.get("repoTemplate")
    return _App(
        str(found["name"]),
        spec,
        {"name": str(found["name"]), **_map(found["repo"])},
        template if isinstance(template, dict) else None,
        _map(spelled(_map(spelled(written, "repoTemplate")), "vars")),
        resolver.steps(found.get("ci"), spelled(written, "ci"), section.place.step("ci")),
        resolver.steps(found.get("cd"), spelled(written, "cd"), section.place.step("cd")),
    )


def _unsettled(app: Attributes) -> Iterator[Steps]:
    """Yield where the structure of an app holds a value that is sensitive or not known yet.

    The structure decides which tools there are, so it must be known before any tool is.
    """
    for key in ("name", "type", "spec", "repo", "repoTemplate", "ci", "cd"):
        if isinstance(app.get(key), _UNSETTLED):
            yield (key,)
    for kind in ("ci", "cd"):
        for index, step in enumerate(_list(app.get(kind))):
            if isinstance(step, _UNSETTLED):
                yield kind, index
            for key, value in _map(step).items():
                if isinstance(value, _UNSETTLED):
                    yield kind, index, key


class _StepResolver(msgspec.Struct, frozen=True):
    """Turns the ci and cd entries of one app into steps."""

    scope: Scope
    templates: Mapping[str, _Template]
    spec: Mapping[str, Value]

    def steps(self, decoded: Value, written: Raw, place: FilePlace) -> list[_Step]:
        """Resolve a list of entries. What is wrong with one is reported, and the entry left out."""
        pairs = zip(_list(decoded), _list(written), strict=True)
        found = [
            self._step(_map(step), _map(raw), place.step(index))
            for index, (step, raw) in enumerate(pairs)
        ]
        return [step for step in found if step]

    def _step(self, step: dict[str, Value], raw: dict[str, Raw], place: FilePlace) -> _Step | None:
        kind, name = str(step["type"]), str(step.get("templateName", ""))
        own, report = _map(spelled(raw, "options")), self.scope.report
        if kind != "template":
            if name:
                report.add(
                    place.at("templateName"),
                    f'key "templateName" goes with type template, not with {kind}',
                )
            return _Step(kind, own)
        template = self.templates.get(name) if name else None
        if template:
            inside = self.scope.inside(before=_map(spelled(raw, "vars")), after=self.spec)
            return _Step(template.type, merge_maps(_map(inside.render(template.options)), own))
        hint = nearest(name, list(self.templates))
        if name:
            missing = f'there is no pipeline template "{name}"'
            report.add(place.at("templateName"), missing, hint)
        else:
            report.add(place.at(), "type template needs a templateName", hint)
        return None


def merge_maps(below: dict[str, Value], above: dict[str, Value]) -> dict[str, Value]:
    """Merge two maps: `above` wins at every leaf, and lists are leaves."""
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
    name: str
    spec: dict[str, Value]
    repository: dict[str, Value]
    template: dict[str, Value] | None
    variables: dict[str, Value]
    ci: list[_Step]
    cd: list[_Step]

    def tools(self, others: Sequence[str]) -> Iterator[Raw]:
        """Yield entries of `tools:`. Deliveries wait for builds, and all for the repository."""
        first = (
            [f"{SCAFFOLDING}.{self.name}", *others] if self.template is not None else list(others)
        )
        # One count for ci and cd: the same plugin may stand in both.
        used: dict[str, int] = {}
        builds: list[str] = []
        for step in self.ci:
            tool = self._tool(step, self._instance(step, used), first)
            builds.append(f"{step.type}.{tool['instanceID']}")
            yield tool
        for step in self.cd:
            yield self._tool(step, self._instance(step, used), [*first, *builds])
        if self.template is not None:
            source = {key: value for key, value in self.template.items() if key != "vars"}
            options: dict[str, Value] = {
                "destinationRepo": self.repository,
                "sourceRepo": source,
                "vars": self.variables,
            }
            yield _written(SCAFFOLDING, self.name, others, options)

    def _instance(self, step: _Step, used: dict[str, int]) -> str:
        """Give the app's name, with a number for each further tool of the same plugin."""
        used[step.type] = used.get(step.type, 0) + 1
        return self.name if used[step.type] == 1 else f"{self.name}-{used[step.type]}"

    def _tool(self, step: _Step, instance: str, depends_on: Iterable[str]) -> dict[str, Value]:
        options = self._delivery(step) if step.type == "argocdapp" else self._pipeline(step)
        return _written(step.type, instance, depends_on, options)

    def _pipeline(self, step: _Step) -> dict[str, Value]:
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

    def _delivery(self, step: _Step) -> dict[str, Value]:
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
        images = [
            _public(build.options["imageRepo"]) for build in self.ci if "imageRepo" in build.options
        ]
        return merge_maps(defaults | {"imageRepo": images[0]} if images else defaults, step.options)

    def _clone_url(self) -> Value:
        if self.template is not None:
            # A reference, so that the delivery waits for the repository and follows its real URL.
            text = f"${{{{ {SCAFFOLDING}.{self.name}.outputs.repoURL }}}}"
            return Reference(Address(SCAFFOLDING, self.name), ("repoURL",), text)
        url, host, owner, org, kind = (
            self.repository.get(key, "") for key in ("url", "baseURL", "owner", "org", "scmType")
        )
        if url != "":
            local = (
                not isinstance(url, str) or "://" in url or "@" in url or url.startswith(("/", "."))
            )
            return url if local else f"https://{url}"
        server, account = (
            host if host != "" else _HOSTS.get(str(kind), _HOSTS["github"]),
            owner if owner != "" else org,
        )
        known = isinstance(server, str) and isinstance(account, str) and account != ""
        return f"{server}/{account}/{self.repository['name']}.git" if known else ""


def _public(image: Value) -> Value:
    """Drop the password of an image: pushing needs it, deploying does not."""
    return (
        {key: value for key, value in image.items() if key != "password"}
        if isinstance(image, dict)
        else image
    )


def _written(
    name: str, instance: str, depends_on: Iterable[str], options: dict[str, Value]
) -> dict[str, Value]:
    return {"name": name, "instanceID": instance, "dependsOn": list(depends_on), "options": options}
