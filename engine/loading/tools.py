"""Checks of the tools: their names, their options against the plugin, and their dependencies."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from engine.address import Address, instance_problem, name_problem
from engine.config import Lifecycle, Timeouts, ToolSpec
from engine.graph import CycleError, topological_order
from engine.language.duration import parse_duration
from engine.language.expressions import RawValue
from engine.language.references import Interpolation, Reference, iter_references
from engine.language.yaml import FilePlace
from engine.loading import file_schema
from engine.loading.problems import Report, describe_kind
from engine.options.decode import build, decode, format_path
from engine.options.fields import (
    describe_options,
    describe_type,
    get_by_spelling,
    is_assignable,
    type_at_path,
)
from engine.schema import Catalog, PluginSchema
from engine.suggestions import suggest
from engine.values import (
    Attributes,
    Secret,
    Unknown,
    UnknownValueError,
    Value,
    ValuePath,
    iter_leaves,
)

_NO_PROTECTION: Final = Lifecycle()
_NO_TIMEOUTS: Final = Timeouts()
UNSETTLED: Final[frozenset[type]] = frozenset({Reference, Interpolation, Secret})
"""The types of values that are allowed in options, but not in keys such as `name`."""


def describe_unsettled(key: str, kinds: Collection[type]) -> tuple[str, str]:
    """Return the message and the hint of the problem that a key has an `UNSETTLED` value."""
    if Secret in kinds:
        return (
            f'key "{key}" cannot use a secret: its value is stored and shown in plain text',
            "use a variable that is neither sensitive nor from the environment",
        )
    return (
        f'key "{key}" cannot use ${{{{ }}}}: dtm needs its value before it reads any output',
        "write the value itself, or use a variable: [[ name ]]",
    )


class ToolEntry(msgspec.Struct):
    """One tool as the user wrote it, with its variables replaced.

    `has_no_literals`: it contains no Literal. `expanded`: it comes from an app. Problems with any
    of its options are then reported at the place of the app.
    """

    value: RawValue
    place: FilePlace
    has_no_literals: bool = False
    expanded: bool = False

    def at(self, *path: str | int, key: bool = False) -> str:
        """Return `file:line:column` of a value inside the tool, or of its key."""
        return self.place.at() if self.expanded else self.place.at(*path, key=key)


class _Tool(msgspec.Struct):
    """A tool whose own entry is checked. Its dependencies are not resolved yet."""

    entry: ToolEntry
    options: Attributes
    depends_on: Sequence[str]
    lifecycle: Lifecycle
    timeouts: Timeouts


class ToolChecker(msgspec.Struct):
    """A check of tools against the catalog: first each tool alone, then all of them together.

    Problems go to the report:

        checker = ToolChecker(catalog, env, report)
        checker.add(entry)  # for each tool
        tools = checker.finish()
    """

    catalog: Catalog
    env: Mapping[str, str]
    report: Report
    _tools: dict[Address, _Tool] = {}
    _schemas: dict[str, PluginSchema | None] = {}

    @property
    def names(self) -> list[str]:
        """List the tools added so far in the spelling of `dependsOn`, name.instanceID."""
        return [address.dotted for address in self._tools]

    def add(self, entry: ToolEntry) -> None:
        """Check one tool alone. Its dependencies are checked by `finish`, when all are known."""
        try:
            tool: file_schema.ToolSection | None = msgspec.convert(
                entry.value, file_schema.ToolSection
            )
        except (msgspec.ValidationError, UnknownValueError):
            # `_decode_entry` is slower: it accepts other spellings and reports each problem.
            tool = None
        if tool is None and (tool := self._decode_entry(entry)) is None:
            return
        address = Address(tool.name, tool.instance_id)
        named = self._check_name(entry, address)
        options = self._decode_options(entry, address, tool.options)
        lifecycle = Lifecycle(tool.lifecycle.prevent_destroy) if tool.lifecycle else _NO_PROTECTION
        timeouts = self._timeouts(entry, tool.timeouts) if tool.timeouts else _NO_TIMEOUTS
        if named:
            self._tools[address] = _Tool(entry, options, tool.depends_on, lifecycle, timeouts)

    def _decode_entry(self, entry: ToolEntry) -> file_schema.ToolSection | None:
        """Decode the entry key by key; report problems. None if name or instanceID is wrong."""
        if not isinstance(entry.value, dict):
            kind = describe_kind(entry.value)
            message = f"a tool must be a map with name, instanceID and options, not {kind}"
            self.report.add(entry.at(), message)
            return None
        known, faults = decode(entry.value, file_schema.ToolSection, env={}, noun="key")
        self.report.add_faults(entry.at, faults)
        wrong = {str(fault.path[0]) for fault in faults} | self._unsettled_keys(entry, known)
        sound = {key: item for key, item in known.items() if key not in wrong}
        if not all(isinstance(sound.get(key), str) for key in ("name", "instanceID")):
            return None
        # The options stay undecoded: `_decode_options` decodes them by the Struct of the plugin.
        options = get_by_spelling(entry.value, "options")
        return msgspec.structs.replace(
            build({**sound, "options": {}}, file_schema.ToolSection),
            options=options if isinstance(options, dict) else {},
        )

    def _unsettled_keys(self, entry: ToolEntry, known: Attributes) -> set[str]:
        """Return the keys with an Unknown or `UNSETTLED` value; report the `UNSETTLED` ones.

        `options` may have such values and is left out.
        """
        found: set[str] = set()
        for key, item in known.items():
            kinds = {type(leaf) for leaf in iter_leaves(item)} if key != "options" else set[type]()
            if kinds & UNSETTLED:
                self.report.add(entry.at(key), *describe_unsettled(key, kinds))
            if kinds & {*UNSETTLED, Unknown}:
                found.add(key)
        return found

    def _check_name(self, entry: ToolEntry, address: Address) -> bool:
        """Return whether the address of the tool is valid and not taken; report problems."""
        before = len(self.report.problems)
        if problem := name_problem(address.name):
            self.report.add(entry.at("name"), problem)
        if problem := instance_problem(address.instance):
            # The user of an app wrote no instanceID: it is the name of the app.
            if entry.expanded:
                problem = problem.replace("instanceID", "app name", 1)
            self.report.add(entry.at("instanceID"), problem)
        if address in self._tools:
            first = self._tools[address].entry.place.at()
            message = f"tool {address} is given twice, first at {first}"
            hint = "give one of the two another instanceID"
            if entry.expanded:
                message = f"this app expands to tool {address}, which is already given at {first}"
                hint = "give the app another name"
            self.report.add(entry.at(), message, hint)
        return len(self.report.problems) == before

    def _timeouts(self, entry: ToolEntry, timeouts: file_schema.TimeoutsSection) -> Timeouts:
        """Convert the timeouts to seconds; report one that is not a duration."""
        found: dict[str, float] = {}
        for key, text in msgspec.structs.asdict(timeouts).items():
            if text is not None:
                try:
                    found[key] = parse_duration(text)
                except ValueError as error:
                    self.report.add(entry.at("timeouts", key), f'key "timeouts.{key}": {error}')
        return Timeouts(**found)

    def _decode_options(
        self, entry: ToolEntry, address: Address, raw: dict[str, RawValue]
    ) -> Attributes:
        schema = self._find_schema(entry, address.name)
        if schema is None:
            return {}
        options, faults = decode(
            raw, schema.options, env=self.env, has_no_literals=entry.has_no_literals
        )
        # This runs once for every tool: the arguments are made only if there are faults.
        if faults:
            about = f"{address}: " if entry.expanded else ""
            self.report.add_faults(partial(entry.at, "options"), faults, about)
        return options

    def _find_schema(self, entry: ToolEntry, name: str) -> PluginSchema | None:
        # Cached by plugin: a configuration may have thousands of tools of one plugin.
        if name not in self._schemas:
            self._schemas[name] = self.catalog.find(name)
        # `_check_name` reports an invalid name. No plugin can have it.
        if self._schemas[name] is None and not name_problem(name):
            message = f'plugin "{name}" is not part of this version'
            hint = "remove this tool (its options were not checked)"
            if name not in self.catalog.unshipped():
                message = f'unknown plugin "{name}"'
                hint = suggest(name, self.catalog.names())
            self.report.add(entry.at("name"), message, hint)
        return self._schemas[name]

    def finish(self) -> tuple[ToolSpec, ...]:
        """Resolve the dependencies and return every tool, in the order of `add`."""
        addresses = list(self._tools)
        # Edges are numbers, not addresses: hashing an Address for each edge takes longer.
        edges = self._edges(addresses)
        self._check_cycles(edges, addresses)
        return tuple(
            ToolSpec(
                address,
                tool.options,
                tuple([addresses[other] for other in edges[number]]),
                tool.lifecycle,
                tool.timeouts,
                tool.entry.place.where,
            )
            for number, (address, tool) in enumerate(self._tools.items())
        )

    def _edges(self, addresses: Sequence[Address]) -> dict[int, list[int]]:
        """Return for each tool, by number, the numbers of the tools that it depends on."""
        numbers = {address: number for number, address in enumerate(addresses)}
        # Users may paste `a/b` from messages, so `dependsOn` accepts both spellings.
        texts = {
            spelling: number
            for address, number in numbers.items()
            for spelling in (address.dotted, str(address))
        }
        edges: dict[int, list[int]] = {}
        for number, tool in enumerate(self._tools.values()):
            found = dict.fromkeys(self._explicit_dependencies(tool, texts))
            # Only expressions make references. Most large files have none and need no walk.
            if tool.entry.expanded or tool.entry.place.file.scanned.expressions:
                targets = self.targets(dict(tool.options), tool.entry.value, tool.entry)
                found |= dict.fromkeys(numbers[address] for address in targets)
                self._check_types(tool, self._schemas.get(addresses[number].name))
            edges[number] = list(found)
        return edges

    def _explicit_dependencies(self, tool: _Tool, texts: Mapping[str, int]) -> Iterator[int]:
        """Yield the tools under `dependsOn`, by number; report unknown ones."""
        for index, text in enumerate(tool.depends_on):
            if text in texts:
                yield texts[text]
            else:
                hint = suggest(text, self.names) if "." in text else "write it as name.instanceID"
                where = tool.entry.at("dependsOn", index)
                self.report.add(where, f'dependsOn: there is no tool "{text}"', hint)

    def targets(self, value: Value, written: RawValue, entry: ToolEntry) -> Iterator[Address]:
        """Yield the tools that a value refers to; report a missing tool or output.

        `written` is the value before it was decoded. Problems are reported at its places.
        """
        for reference in iter_references(value):
            if reference.address in self._tools:
                yield reference.address
                message, hint = self._missing_output(reference)
            else:
                message = f"{reference}: there is no tool {reference.address}"
                hint = suggest(reference.address.dotted, self.names)
            if message:
                self.report.add(entry.at(*_find_path(written, reference)), message, hint)

    def _outputs_struct(self, reference: Reference) -> type[msgspec.Struct] | None:
        """Return the outputs Struct of the plugin that a reference names; None if it has none."""
        schema = self._schemas.get(reference.address.name)
        return schema.outputs if schema else None

    def _missing_output(self, reference: Reference) -> tuple[str, str]:
        outputs = self._outputs_struct(reference)
        known = [option.key for option in describe_options(outputs)] if outputs else []
        if outputs is None or reference.path[0] in known:
            return "", ""
        message = f'{reference}: {reference.address} has no output "{reference.path[0]}"'
        return message, suggest(str(reference.path[0]), known)

    def _check_types(self, tool: _Tool, schema: PluginSchema | None) -> None:
        """Report each option that is one reference to an output of the wrong type."""
        for path, leaf in _iter_leaves(dict(tool.options)):
            outputs = self._outputs_struct(leaf) if isinstance(leaf, Reference) else None
            if not isinstance(leaf, Reference) or schema is None or outputs is None:
                continue
            wanted, given = type_at_path(schema.options, path), type_at_path(outputs, leaf.path)
            if wanted and given and not is_assignable(wanted, given):
                option = f'option "{format_path(path)}" must be {describe_type(wanted)}'
                message = f"{option}, but {leaf} is {describe_type(given)}"
                self.report.add(tool.entry.at(*_find_path(tool.entry.value, leaf)), message)

    def _check_cycles(
        self, edges: Mapping[int, Sequence[int]], addresses: Sequence[Address]
    ) -> None:
        if all(other < number for number, others in edges.items() for other in others):
            return  # The usual case: every tool depends only on earlier ones, so there is no cycle.
        try:
            topological_order(edges)
        except CycleError as error:
            circle: list[Address] = [addresses[number] for number in [*error.nodes, error.nodes[0]]]
            message = f"dependency cycle: {' → '.join(map(str, circle))}"
            where = self._tools[circle[0]].entry.at()
            hint = "remove one of these dependencies (dependsOn or ${{ }})"
            self.report.add(where, message, hint)


def _iter_leaves(value: Value, path: ValuePath = ()) -> Iterator[tuple[ValuePath, Value]]:
    """Yield every value that is neither a list nor a map, with its path."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _iter_leaves(item, (*path, key))
    else:
        yield path, value


def _find_path(value: RawValue, wanted: Reference) -> ValuePath:
    """Return the path of a reference inside a value; () if it is not in the value."""
    # Compared by identity: a value may contain several equal references.
    found = (
        path
        for path, leaf in _iter_leaves(value)
        if any(wanted is each for each in iter_references(leaf))
    )
    return next(found, ())
