"""The `command` provider, which manages a resource with programs that the user gives."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, TypeAlias, cast

import msgspec

from engine.errors import DtmError, OutcomeUnknownError, ProviderError
from engine.ports import BY_ADDRESS, Call, HasInputFiles, HasRequirements, Provider
from engine.schema import Field, Options
from engine.state import Resource
from engine.values import HIDDEN, UNKNOWN, Digest, Value, map_leaves, reveal
from providers._local import PathText, resolve_path

Command: TypeAlias = (
    Annotated[list[str], msgspec.Meta(min_length=1)] | Annotated[str, msgspec.Meta(min_length=1)]
)

ERROR_LINES = 20
"""Number of output lines that an error message quotes."""
RESERVED_KEYS = ("id", "outputs")
"""Keys of the recorded resource in JSON that are not attributes."""


class CommandOptions(Options, frozen=True, kw_only=True):
    """The programs to run, their environment and their working directory."""

    create: Annotated[
        Command,
        Field(
            "Program that creates the resource. After a crash dtm runs it again, so it must "
            "complete a resource that exists in part.",
            example="echo '{\"size\": 1}' > made.json",
        ),
    ]
    read: Annotated[
        Command | None,
        Field(
            "Program that prints the resource as a JSON object, or prints nothing and exits with "
            "code 0 if the resource does not exist.",
            example="cat made.json 2> /dev/null || true",
        ),
    ] = None
    update: Annotated[
        Command | None,
        Field("Program that changes the resource. Without it, dtm runs `create` again."),
    ] = None
    delete: Annotated[
        Command | None,
        Field(
            "Program that removes the resource. Without it, dtm only forgets the resource.",
            example="rm -f made.json",
        ),
    ] = None
    env: Annotated[
        dict[str, str], Field("Environment variables, in addition to those of dtm itself.")
    ] = msgspec.field(default_factory=dict[str, str])
    cwd: Annotated[PathText, Field("Directory in which the programs run.")] = "."


class CommandProvider:
    """A resource that is managed by your own programs.

    A program is a list of arguments, or a string that `/bin/sh` runs. On standard input it gets the
    recorded resource as JSON, or `null` if there is none. The environment variable `DTM_ADDRESS`
    holds the address of the tool, such as `command.name`. `DTM_TOKEN` holds a text that is the same
    for every attempt of one operation. The keys that `read` prints are the outputs of the tool. If
    `read` prints something else than before, that is drift; without `read`, dtm finds no drift. If
    the timeout expires or the run is interrupted, dtm ends the program and all processes that it
    started.
    """

    plugin = "command"
    options = CommandOptions
    outputs = None

    def identity(self, options: CommandOptions) -> str | None:
        """Use the address. None without `read`, since the resource cannot be found again then."""
        return None if options.read is None else BY_ADDRESS

    def predict(self, options: CommandOptions, resource: Resource | None) -> Mapping[str, Value]:
        """Predict the recorded keys as unknown: only `read` knows the values after the change."""
        return dict.fromkeys(resource.outputs if resource else (), UNKNOWN)

    def read(
        self, options: CommandOptions, resource: Resource | None, call: Call
    ) -> Resource | None:
        """Run `read` and parse its output. Without `read`, return the recorded resource."""
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
        """Run `update`, or `create` if there is no `update`; then run `read`."""
        command = options.create if options.update is None else options.update
        _run_program("update", command, options, resource, call)
        return self._read_back("update", options, resource, call)

    def delete(self, options: CommandOptions, resource: Resource, call: Call) -> None:
        """Run `delete`. Its failure is ignored if `read` reports that the resource is gone."""
        if options.delete is None:
            return
        try:
            _run_program("delete", options.delete, options, resource, call)
        except ProviderError:
            # OutcomeUnknownError is not caught: a delete that was stopped may still change the
            # resource, so a `read` now would prove nothing.
            if options.read is None or self.read(options, resource, call) is not None:
                raise

    def missing_requirements(self, options: CommandOptions) -> Sequence[str]:
        """Report each program that is not installed.

        A program that is given with a directory is not checked: another tool may create it.
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
                # Raises UnknownValueError if `delete` needs a secret that is not set. dtm then
                # reports it before the first change, not in the middle of a deletion.
                str(text)
        return [f"{name} is not installed" for name in missing]

    def input_paths(self, options: CommandOptions) -> Mapping[str, str]:
        """Return the working directory, which must exist before the first change of a run."""
        return {"cwd": options.cwd}

    def _read_back(
        self, name: str, options: CommandOptions, resource: Resource, call: Call
    ) -> Resource:
        created = self.read(options, resource, call)
        if created is None:
            raise ProviderError(
                f"the {name} command succeeded, but the read command printed nothing",
                hint="change read: it must print the resource as a JSON object",
            )
        return created


def _run_program(
    name: str,
    command: Command,
    options: CommandOptions,
    resource: Resource | None,
    call: Call,
    out: Callable[[bytes], object] | None = None,
) -> None:
    """Run one of the programs; report each line of output at once. Raises DtmError on failure.

    If `out` is given, it receives the bytes of standard output, which are not reported then.
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
    # The last line may have no line break.
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
    """Encode the resource as JSON: attributes, `id` and `outputs` in one map; null without one.

    The state holds only digests of secrets. `(sensitive)` takes the place of each.
    """
    if resource is None:
        return b"null\n"
    flat: Value = {**resource.attributes, "id": resource.id, "outputs": dict(resource.outputs)}
    known = map_leaves(reveal(flat), lambda leaf: HIDDEN if isinstance(leaf, Digest) else leaf)
    return msgspec.json.encode(known) + b"\n"


def _build_error(name: str, code: int | None, output: str, call: Call) -> DtmError:
    quoted = f":\n{output}" if output else ""
    if code is not None:
        hint = (
            "if the resource does not exist, read must print nothing and exit with code 0"
            if name == "read"
            else ""
        )
        return ProviderError(f"{name} ended with {_format_exit(code)}{quoted}", hint=hint)
    why = "the run was interrupted" if call.cancelled() else "its timeout expired"
    message = f"{name} was stopped because {why}{quoted}"
    # A stopped `read` changed nothing. Any other program may have done its work, or a part of it.
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
_has_requirements: type[HasRequirements] = CommandProvider
_has_input_files: type[HasInputFiles] = CommandProvider
