"""Checks of the tools: their names, their options against the plugin, their edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from engine.address import Address, instance_problem, name_problem
from engine.config import Lifecycle, Timeouts, ToolSpec
from engine.graph import CycleError, order
from engine.language.duration import seconds
from engine.language.expressions import Raw
from engine.language.references import Interpolation, Reference, references
from engine.language.yaml import FilePlace
from engine.loading import file_schema
from engine.loading.problems import Report
from engine.options.decode import build, decode, dotted
from engine.options.fields import agree, expected, options_of, shape_at, spelled
from engine.schema import Catalog, PluginSchema
from engine.suggestions import nearest
from engine.values import Attributes, Secret, Steps, Unknown, UnknownValueError, Value, leaves

_FREE: Final = Lifecycle()
_UNTIMED: Final = Timeouts()


class ToolEntry(msgspec.Struct):
    """One tool as written and rendered.

    `simple`: no Literal is inside. `expanded`: it stems from an app, whose place stands for those
    of its options.
    """

    value: Raw
    place: FilePlace
    simple: bool = False
    expanded: bool = False

    def at(self, *path: str | int, key: bool = False) -> str:
        """Give `file:line:column` of an entry of the tool, or of its key."""
        return self.place.at() if self.expanded else self.place.at(*path, key=key)


class _Tool(msgspec.Struct):
    """A tool whose own entry was checked, its edges not yet."""

    entry: ToolEntry
    options: Attributes
    depends_on: Sequence[str]
    lifecycle: Lifecycle
    timeouts: Timeouts


class ToolChecker(msgspec.Struct):
    """Checks tools against a catalog, each by itself and then all together."""

    catalog: Catalog
    env: Mapping[str, str]
    report: Report
    _tools: dict[Address, _Tool] = {}
    _schemas: dict[str, PluginSchema | None] = {}

    @property
    def names(self) -> list[str]:
        """List every tool so far as `dependsOn` writes it."""
        return [address.dotted for address in self._tools]

    def add(self, entry: ToolEntry) -> None:
        """Check one entry by itself. Edges come later, when every tool is known."""
        try:
            tool: file_schema.ToolSection | None = msgspec.convert(
                entry.value, file_schema.ToolSection
            )
        except (msgspec.ValidationError, UnknownValueError):
            tool = None  # the slower way says what is wrong, or finds another spelling
        if tool is None and (tool := self._shape(entry)) is None:
            return
        address = Address(tool.name, tool.instance_id)
        named = self._named(entry, address)
        options = self._options(entry, address, tool.options)
        lifecycle = Lifecycle(tool.lifecycle.prevent_destroy) if tool.lifecycle else _FREE
        timeouts = self._timeouts(entry, tool.timeouts) if tool.timeouts else _UNTIMED
        if named:
            self._tools[address] = _Tool(entry, options, tool.depends_on, lifecycle, timeouts)

    def _shape(self, entry: ToolEntry) -> file_schema.ToolSection | None:
        """Read the entry by its keys as far as possible; None if it cannot even be named."""
        if not isinstance(entry.value, dict):
            self.report.add(entry.at(), "a tool is a map with name, instanceID and options")
            return None
        known, faults = decode(entry.value, file_schema.ToolSection, env={}, noun="key")
        self.report.add_faults(entry.at, faults)
        wrong = {str(fault.path[0]) for fault in faults} | self._unsettled(entry, known)
        sound = {key: item for key, item in known.items() if key not in wrong}
        if not all(isinstance(sound.get(key), str) for key in ("name", "instanceID")):
            return None
        options = spelled(entry.value, "options")  # not decoded yet: that is the plugin's part
        return msgspec.structs.replace(
            build({**sound, "options": {}}, file_schema.ToolSection),
            options=options if isinstance(options, dict) else {},
        )

    def _unsettled(self, entry: ToolEntry, known: Attributes) -> set[str]:
        """Find the keys beside `options` whose value is not known now or is sensitive."""
        found: set[str] = set()
        for key, item in known.items():
            kinds = {type(leaf) for leaf in leaves(item)} if key != "options" else set[type]()
            if kinds & {Secret, Reference, Interpolation}:
                message = f'key "{key}" must be known from the start, and not be sensitive'
                self.report.add(entry.at(key), message)
            if kinds & {Secret, Reference, Interpolation, Unknown}:
                found.add(key)
        return found

    def _named(self, entry: ToolEntry, address: Address) -> bool:
        """Check the tool's name; True if it is sound and new."""
        before = len(self.report.problems)
        if problem := name_problem(address.name):
            self.report.add(entry.at("name"), problem)
        if problem := instance_problem(address.instance):
            self.report.add(entry.at("instanceID"), problem)
        if address in self._tools:
            first = self._tools[address].entry.place.at()
            self.report.add(entry.at(), f"tool {address} is given twice, first at {first}")
        return len(self.report.problems) == before

    def _timeouts(self, entry: ToolEntry, timeouts: file_schema.TimeoutsSection) -> Timeouts:
        found: dict[str, float] = {}
        for key, text in msgspec.structs.asdict(timeouts).items():
            if text is not None:
                try:
                    found[key] = seconds(text)
                except ValueError as error:
                    self.report.add(entry.at("timeouts", key), str(error))
        return Timeouts(**found)

    def _options(self, entry: ToolEntry, address: Address, raw: dict[str, Raw]) -> Attributes:
        schema = self._schema(entry, address.name)
        if schema is None:
            return {}
        options, faults = decode(raw, schema.options, env=self.env, simple=entry.simple)
        if faults:  # once for every tool: nothing is prepared for the usual case
            about = f"{address}: " if entry.expanded else ""
            self.report.add_faults(partial(entry.at, "options"), faults, about)
        return options

    def _schema(self, entry: ToolEntry, name: str) -> PluginSchema | None:
        # Asked once per plugin: a config may have thousands of tools of one.
        if name not in self._schemas:
            self._schemas[name] = self.catalog.find(name)
        # A wrong name is reported elsewhere; it cannot be a plugin's.
        if self._schemas[name] is None and not name_problem(name):
            message = f'plugin "{name}" is not part of this version'
            hint = "its options were not checked"
            if name not in self.catalog.unshipped():
                message = f'unknown plugin "{name}"'
                hint = nearest(name, self.catalog.names())
            self.report.add(entry.at("name"), message, hint)
        return self._schemas[name]

    def finish(self) -> tuple[ToolSpec, ...]:
        """Give every tool with its edges, in the order given."""
        addresses = list(self._tools)
        # Numbers instead of addresses: hashing an Address for each edge takes longer.
        edges = self._edges(addresses)
        self._cycle(edges, addresses)
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
        """List for each tool, by number, the numbers of those that it waits for."""
        numbers = {address: number for number, address in enumerate(addresses)}
        # Messages write `a/b`, so users paste that spelling too.
        texts = {
            spelling: number
            for address, number in numbers.items()
            for spelling in (address.dotted, str(address))
        }
        edges: dict[int, list[int]] = {}
        for number, tool in enumerate(self._tools.values()):
            found = dict.fromkeys(self._written(tool, texts))
            # Only expressions make references: most large files have none, and are not walked.
            if tool.entry.expanded or tool.entry.place.text.scanned.expressions:
                targets = self.targets(dict(tool.options), tool.entry.value, tool.entry)
                found |= dict.fromkeys(numbers[address] for address in targets)
                self._check_types(tool, self._schemas.get(addresses[number].name))
            edges[number] = list(found)
        return edges

    def _written(self, tool: _Tool, texts: Mapping[str, int]) -> Iterator[int]:
        for index, text in enumerate(tool.depends_on):
            if text in texts:
                yield texts[text]
            else:
                hint = nearest(text, self.names) if "." in text else "write it as name.instanceID"
                where = tool.entry.at("dependsOn", index)
                self.report.add(where, f'dependsOn: there is no tool "{text}"', hint)

    def targets(self, value: Value, written: Raw, entry: ToolEntry) -> Iterator[Address]:
        """Yield the tools that a value refers to; report a missing tool or output.

        `written` is the value before it was decoded: places are those of what the user wrote.
        """
        for reference in references(value):
            if reference.address in self._tools:
                yield reference.address
                message, hint = self._missing_output(reference)
            else:
                message = f"{reference}: there is no tool {reference.address}"
                hint = nearest(reference.address.dotted, self.names)
            if message:
                self.report.add(entry.at(*_path(written, reference)), message, hint)

    def _outputs(self, reference: Reference) -> type[msgspec.Struct] | None:
        """Find the Struct of the outputs that a reference names one of; None if they are open."""
        schema = self._schemas.get(reference.address.name)
        return schema.outputs if schema else None

    def _missing_output(self, reference: Reference) -> tuple[str, str]:
        outputs = self._outputs(reference)
        known = [option.key for option in options_of(outputs)] if outputs else []
        if outputs is None or reference.path[0] in known:
            return "", ""
        message = f'{reference}: {reference.address} has no output "{reference.path[0]}"'
        return message, nearest(str(reference.path[0]), known)

    def _check_types(self, tool: _Tool, schema: PluginSchema | None) -> None:
        """Check that an option which is one reference gets an output of the type that it wants."""
        for path, leaf in _leaves(dict(tool.options)):
            outputs = self._outputs(leaf) if isinstance(leaf, Reference) else None
            if not isinstance(leaf, Reference) or schema is None or outputs is None:
                continue
            wanted, given = shape_at(schema.options, path), shape_at(outputs, leaf.path)
            if wanted and given and not agree(wanted, given):
                option = f'option "{dotted(path)}" must be {expected(wanted)}'
                message = f"{option}, and {leaf} is {expected(given)}"
                self.report.add(tool.entry.at(*_path(tool.entry.value, leaf)), message)

    def _cycle(self, edges: Mapping[int, Sequence[int]], addresses: Sequence[Address]) -> None:
        if all(other < number for number, others in edges.items() for other in others):
            return  # everything waits for what stands above it: the usual case, and no cycle
        try:
            order(edges)
        except CycleError as error:
            circle: list[Address] = [addresses[number] for number in [*error.nodes, error.nodes[0]]]
            message = f"dependency cycle: {' → '.join(map(str, circle))}"
            where = self._tools[circle[0]].entry.at()
            self.report.add(where, message, "a tool cannot wait for itself")


def _leaves(value: Value, path: Steps = ()) -> Iterator[tuple[Steps, Value]]:
    """Yield every value that is neither a list nor a map, and where it stands."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*path, key))
    else:
        yield path, value


def _path(value: Raw, wanted: Reference) -> Steps:
    """Find where a reference stands inside a value as written; () if it is not there."""
    # By identity: equal references may stand in several places.
    found = (
        path for path, leaf in _leaves(value) if any(wanted is each for each in references(leaf))
    )
    return next(found, ())
