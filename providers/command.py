"""The `command` provider: anything that programs can create, read, update and delete."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, TypeAlias, cast

import msgspec

from engine.errors import DtmError, OutcomeUnknownError, ProviderError
from engine.ports import BY_ADDRESS, Call, Consuming, Provider, Requiring
from engine.schema import Field, Options
from engine.state import Resource
from engine.values import HIDDEN, UNKNOWN, Digest, Value, map_leaves, reveal
from providers._local import PathText, resolve_path

Command: TypeAlias = (
    Annotated[list[str], msgspec.Meta(min_length=1)] | Annotated[str, msgspec.Meta(min_length=1)]
)

OutputHandler: TypeAlias = Callable[[bytes], object]

ERROR_LINES = 20
"""Lines of output that an error quotes."""
RESERVED_KEYS = ("id", "outputs")
"""Keys of a recorded resource that are not attributes."""


class CommandOptions(Options, frozen=True, kw_only=True):
    """The programs to run, and where."""

    create: Annotated[
        Command,
        Field(
            "makes it; run again after a crash, it completes what is half made",
            example="echo '{\"size\": 1}' > made.json",
        ),
    ]
    read: Annotated[
        Command | None,
        Field(
            "prints it as a JSON object, nothing if it is gone",
            example="cat made.json 2> /dev/null || true",
        ),
    ] = None
    update: Annotated[
        Command | None, Field("changes it in place; without this, `create` is run again")
    ] = None
    delete: Annotated[
        Command | None, Field("removes it; without this, nothing is run", example="rm -f made.json")
    ] = None
    env: Annotated[dict[str, str], Field("environment variables, added to those dtm runs with")] = (
        msgspec.field(default_factory=dict[str, str])
    )
    cwd: Annotated[PathText, Field("the directory to run in")] = "."


class CommandProvider:
    """Whatever your own programs make.

    Each is a list of arguments, or a string for `/bin/sh`. Each gets `DTM_ADDRESS`
    (`command.name`), `DTM_TOKEN` (the same for every try of one operation) and, as JSON on standard
    input, the recorded resource or `null`. What `read` prints is compared with what it printed
    before, and can be referenced as outputs; without `read` no drift is found. When the time is
    over or the run is interrupted, the program and all that it started are ended.
    """

    plugin = "command"
    options = CommandOptions
    outputs = None

    def identity(self, options: CommandOptions) -> str | None:
        """Name it by its address, if `read` can tell what is there."""
        return None if options.read is None else BY_ADDRESS

    def predict(self, options: CommandOptions, resource: Resource | None) -> Mapping[str, Value]:
        """Predict only the keys of the outputs: their values are known after `read` ran."""
        return dict.fromkeys(resource.outputs if resource else (), UNKNOWN)

    def read(
        self, options: CommandOptions, resource: Resource | None, call: Call
    ) -> Resource | None:
        """Report what `read` prints; without it, what was recorded."""
        if options.read is None:
            return resource
        printed = bytearray()
        _run_program("read", options.read, options, resource, call, printed.extend)
        if not printed.strip():
            return None
        outputs = _parse_output(bytes(printed))
        attributes = {key: value for key, value in outputs.items() if key not in RESERVED_KEYS}
        return Resource(call.address.dotted, attributes, outputs)

    def create(self, options: CommandOptions, call: Call) -> Resource:
        """Run `create`, then `read`."""
        _run_program("create", options.create, options, None, call)
        return self._read_back("create", options, Resource(call.address.dotted), call)

    def update(self, options: CommandOptions, resource: Resource, call: Call) -> Resource:
        """Run `update`, or `create` again, then `read`."""
        command = options.create if options.update is None else options.update
        _run_program("update", command, options, resource, call)
        return self._read_back("update", options, resource, call)

    def delete(self, options: CommandOptions, resource: Resource, call: Call) -> None:
        """Run `delete`; a failure does not matter if `read` finds nothing any more."""
        if options.delete is None:
            return
        try:
            _run_program("delete", options.delete, options, resource, call)
        except ProviderError:
            # OutcomeUnknownError passes: a delete that was cut off may still be at work.
            if options.read is None or self.read(options, resource, call) is not None:
                raise

    def requires(self, options: CommandOptions) -> Sequence[str]:
        """Name the programs that are not installed.

        One with a path is not looked for: another tool may make it.
        """
        import shutil

        search = str({**os.environ, **options.env}.get("PATH", os.defpath))
        commands = (options.create, options.read, options.update, options.delete)
        programs = {command[0]: None for command in commands if isinstance(command, list)}
        missing = [
            name for name in programs if os.sep not in name and not shutil.which(name, path=search)
        ]
        if not missing and options.delete is not None:
            needed = options.delete if isinstance(options.delete, list) else [options.delete]
            for text in (*needed, options.cwd, *options.env.values()):
                str(text)  # raises UnknownValueError for a value that the delete would lack
        return [f"{name} is not installed" for name in missing]

    def inputs(self, options: CommandOptions) -> Mapping[str, str]:
        """Name the directory to run in."""
        return {"cwd": options.cwd}

    def _read_back(
        self, name: str, options: CommandOptions, resource: Resource, call: Call
    ) -> Resource:
        made = self.read(options, resource, call)
        if made is None:
            raise ProviderError(
                f"{name} succeeded, but read finds nothing", hint="read must print what create made"
            )
        return made


def _run_program(
    name: str,
    command: Command,
    options: CommandOptions,
    resource: Resource | None,
    call: Call,
    out: OutputHandler | None = None,
) -> None:
    """Run one of the programs to its end and report its lines as they come.

    `out` takes the bytes of standard output instead.
    """
    from providers._process import program

    tail: deque[str] = deque(maxlen=ERROR_LINES)

    def report_line(line: str) -> None:
        tail.append(line)
        call.report(line)

    printed, errors = program.LineSplitter(report_line), program.LineSplitter(report_line)
    argv = ["/bin/sh", "-c", command] if isinstance(command, str) else command
    cwd, env = resolve_path(options.cwd, call), _build_environment(options, call)
    try:
        code = program.run(
            program.Program(argv, cwd, env, stdin=_encode_record(resource)),
            out=out or printed.feed,
            err=errors.feed,
            stop=lambda: call.cancelled() or time.monotonic() > call.deadline,
        )
    except OSError as error:
        raise ProviderError(
            f"cannot run {name}: {error.filename or argv[0]}: {error.strerror or error}"
        ) from error
    printed.close()
    errors.close()
    if code != 0:
        raise _build_error(name, code, "\n".join(tail), call)


def _build_environment(options: CommandOptions, call: Call) -> dict[str, str]:
    return {
        **os.environ,
        **options.env,
        "DTM_ADDRESS": call.address.dotted,
        "DTM_TOKEN": call.token,
    }


def _encode_record(resource: Resource | None) -> bytes:
    """Encode the resource in the flat form of the state file, null if there is none.

    A secret of which only the digest is recorded is `(sensitive)`.
    """
    if resource is None:
        return b"null\n"
    flat: Value = {**resource.attributes, "id": resource.id, "outputs": dict(resource.outputs)}
    known = map_leaves(reveal(flat), lambda leaf: HIDDEN if isinstance(leaf, Digest) else leaf)
    return msgspec.json.encode(known) + b"\n"


def _build_error(name: str, code: int | None, said: str, call: Call) -> DtmError:
    quoted = f":\n{said}" if said else ""
    if code is not None:
        hint = "a thing that is gone is said by exit code 0 and no output" if name == "read" else ""
        return ProviderError(f"{name} ended with {_format_exit(code)}{quoted}", hint=hint)
    why = "the run was interrupted" if call.cancelled() else "its time was over"
    message = f"{name} was stopped because {why}{quoted}"
    return ProviderError(message) if name == "read" else OutcomeUnknownError(message)


def _format_exit(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"signal {-code}"


def _parse_output(printed: bytes) -> dict[str, Value]:
    try:
        found: object = msgspec.json.decode(printed)
    except ValueError as error:
        shown = printed[:100].decode(errors="replace").strip()
        raise ProviderError(f"read must print a JSON object, but printed: {shown}") from error
    if not isinstance(found, dict):
        raise ProviderError(f"read must print a JSON object, but printed a {type(found).__name__}")
    return cast("dict[str, Value]", found)  # decoded without a type: JSON


_conforms: type[Provider[CommandOptions]] = CommandProvider
_requires: type[Requiring] = CommandProvider
_consumes: type[Consuming] = CommandProvider
