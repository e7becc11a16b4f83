"""Options: checked against the Struct of a plugin, and built into that Struct."""

from enum import Enum
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import msgspec.inspect as shapes
import pytest

from engine.address import Address
from engine.errors import ConfigError
from engine.language import scalars
from engine.language.references import Interpolation, Reference
from engine.options.decode import build, canonicalize, decode
from engine.options.fields import (
    is_assignable,
    replace_paths,
    secret_paths,
    type_at_path,
    union_members,
)
from engine.schema import Field, Options
from engine.values import UNKNOWN, Digest, Secret, UnknownValueError, Value

REFERENCE = Reference(Address("a", "b"), ("c",), "${{ a.b.outputs.c }}")
JOINED = Interpolation(("x/", REFERENCE))
Raw: TypeAlias = dict[str, Any]


def literal(text: str) -> scalars.Literal:
    found = scalars.read(text)
    assert isinstance(found, scalars.Literal)
    return found


class Visibility(Enum):
    PUBLIC = "public"
    PRIVATE = "private"


class Login(Options, frozen=True):
    user: Annotated[str, Field("who")]
    password: Annotated[str | None, Field("secret word", secret=True, env="LOGIN_PASSWORD")] = None


class Sample(Options, frozen=True):
    path: Annotated[str, Field("where", replace=True)]
    image_repo: Annotated[str, Field("image", aliases=("imageName",))] = ""
    base_url: Annotated[str, Field("url")] = msgspec.field(default="", name="baseURL")
    port: Annotated[int, Field("port", ge=1, le=65535)] = 80
    ratio: Annotated[float, Field("share", gt=0, lt=1)] = 0.5
    on: bool = True
    kind: Literal["go", "python"] = "go"
    version: Literal["1.19", "1.20"] = "1.20"
    visibility: Visibility = Visibility.PUBLIC
    mode: Annotated[str, Field("mode", pattern="^[0-7]{3,4}$")] = "644"
    command: Annotated[str | list[str], Field("argv")] = "true"
    tags: Annotated[list[str], Field("labels", min_length=1)] = msgspec.field(
        default_factory=lambda: ["x"]
    )
    env: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    input: Any = None
    login: Login | None = None
    logins: list[Login] = msgspec.field(default_factory=list[Login])
    token: Annotated[str | None, Field("token", secret=True, env="SAMPLE_TOKEN")] = None
    note: str | None = None


class FromEnvironment(Options, frozen=True):
    token: Annotated[str, Field("token", secret=True, env="NEEDY_TOKEN")]
    size: Annotated[int, Field("size", env="NEEDY_SIZE")] = 1


class OwnCheck(Options, frozen=True):
    owner: str = ""
    org: str = ""

    def __post_init__(self) -> None:
        if bool(self.owner) == bool(self.org):
            raise ValueError("exactly one of owner and org must be given")


def faults(raw: Raw, struct: type[msgspec.Struct] = Sample) -> list[tuple[str, str]]:
    return [(fault.message, fault.hint) for fault in decode(raw, struct, env={})[1]]


@pytest.mark.parametrize(
    ("raw", "attributes"),
    [
        ({"path": "x"}, {"path": "x"}),
        ({"path": "x", "image_repo": "i"}, {"path": "x", "imageRepo": "i"}),
        ({"path": "x", "imageName": "i"}, {"path": "x", "imageRepo": "i"}),
        ({"path": "x", "baseUrl": "u"}, {"path": "x", "baseURL": "u"}),
        ({"path": "x", "base_url": "u"}, {"path": "x", "baseURL": "u"}),
        ({"path": 7}, {"path": "7"}),
        ({"path": literal("1.10")}, {"path": "1.10"}),
        ({"path": literal("True")}, {"path": "True"}),
        ({"path": literal("99999999999999999999999")}, {"path": "99999999999999999999999"}),
        ({"path": True}, {"path": "true"}),
        ({"path": 1.5}, {"path": "1.5"}),
        ({"path": "x", "version": literal("1.20")}, {"path": "x", "version": "1.20"}),
        ({"path": "x", "port": literal("0x50")}, {"path": "x", "port": 80}),
        ({"path": "x", "on": literal("True")}, {"path": "x", "on": True}),
        ({"path": "x", "ratio": literal(".5")}, {"path": "x", "ratio": 0.5}),
        ({"path": "x", "port": None, "tags": None}, {"path": "x"}),
        ({"path": "x", "note": None}, {"path": "x", "note": None}),
        ({"path": "x", "visibility": "private"}, {"path": "x", "visibility": "private"}),
        (
            {"path": "x", "command": ["a", 1, literal("1.0e3")]},
            {"path": "x", "command": ["a", "1", "1.0e3"]},
        ),
        ({"path": "x", "command": 5}, {"path": "x", "command": "5"}),
        (
            {"path": "x", "env": {"A": 1, "B": literal("TRUE")}},
            {"path": "x", "env": {"A": "1", "B": "TRUE"}},
        ),
        (
            {"path": "x", "input": {"a": [literal("1.10"), None]}},
            {"path": "x", "input": {"a": [1.1, None]}},
        ),
        (
            {"path": "x", "login": {"user": "u", "password": "p"}},
            {"path": "x", "login": {"user": "u", "password": Secret("p")}},
        ),
        ({"path": "x", "token": "t"}, {"path": "x", "token": Secret("t")}),
        (
            {"path": "x", "token": Secret(5, ("var n",))},
            {"path": "x", "token": Secret("5", ("var n",))},
        ),
        ({"path": Secret("p", ("env P",))}, {"path": Secret("p", ("env P",))}),
        (
            {"path": REFERENCE, "port": REFERENCE, "tags": [JOINED]},
            {"path": REFERENCE, "port": REFERENCE, "tags": [JOINED]},
        ),
        ({"path": UNKNOWN, "input": UNKNOWN}, {"path": UNKNOWN, "input": UNKNOWN}),
    ],
)
def test_decoded_options_have_canonical_names_and_types(raw: Raw, attributes: Raw) -> None:
    assert decode(raw, Sample, env={}) == (attributes, [])


@pytest.mark.parametrize(
    ("raw", "message", "hint"),
    [
        ({}, 'option "path" is required', ""),
        ({"path": None}, 'option "path" must not be empty', ""),
        ({"path": ["x"]}, 'option "path" must be text, not a list', ""),
        (
            {"path": [["name"]]},
            'option "path" must be text, not a list',
            "to use the variable, write [[ name ]] with no space between the brackets",
        ),
        (
            {"path": "x", "pathh": 1},
            'option "pathh" is unknown',
            'check the spelling: "path" is similar',
        ),
        # The typo is the only fault: `path` is not also reported as missing.
        (
            {"pth": "x"},
            'option "pth" is unknown',
            'check the spelling: "path" is similar',
        ),
        ({"path": "x", "Path": "y"}, 'option "Path" is already given as "path"', ""),
        ({"path": "x", "port": "many"}, 'option "port" must be an integer, not "many"', ""),
        ({"path": "x", "port": 1.5}, 'option "port" must be an integer, not 1.5', ""),
        ({"path": "x", "port": True}, 'option "port" must be an integer, not true', ""),
        ({"path": "x", "port": 0}, 'option "port" must be at least 1', ""),
        ({"path": "x", "port": 70000}, 'option "port" must be at most 65535', ""),
        ({"path": "x", "ratio": 0}, 'option "ratio" must be more than 0', ""),
        ({"path": "x", "ratio": 1}, 'option "ratio" must be less than 1', ""),
        ({"path": "x", "on": "yes"}, 'option "on" must be true or false, not "yes"', ""),
        (
            {"path": "x", "kind": "golang"},
            'option "kind" must be one of "go", "python", not "golang"',
            "",
        ),
        (
            {"path": "x", "kind": "pyton"},
            'option "kind" must be one of "go", "python", not "pyton"',
            'check the spelling: "python" is similar',
        ),
        (
            {"path": "x", "visibility": "hidden"},
            'option "visibility" must be one of "public", "private", not "hidden"',
            "",
        ),
        (
            {"path": "x", "mode": literal("0644")},
            'option "mode" is text, but 0644 without quotes is a number',
            'write it in quotes: "0644"',
        ),
        (
            {"path": "x", "token": literal("0123")},
            'option "token" is text, but (sensitive) without quotes is a number',
            "write it in quotes",
        ),
        ({"path": "x", "mode": "rw"}, 'option "mode" must match ^[0-7]{3,4}$', ""),
        ({"path": "x", "tags": []}, 'option "tags" must not be empty', ""),
        ({"path": "x", "tags": [None]}, 'option "tags[0]" must be text, not empty', ""),
        ({"path": "x", "tags": "a"}, 'option "tags" must be a list, not "a"', ""),
        (
            {"path": "x", "command": {"a": 1}},
            'option "command" must be text or a list, not a map',
            "",
        ),
        ({"path": "x", "env": {"A": []}}, 'option "env.A" must be text, not a list', ""),
        ({"path": "x", "login": {}}, 'option "login.user" is required', ""),
        (
            {"path": "x", "logins": [{"user": "u"}, {"usr": 1, "user": "x"}]},
            'option "logins[1].usr" is unknown',
            'check the spelling: "user" is similar',
        ),
        (
            {"path": "x", "port": JOINED},
            'option "port" must be an integer, not "x/${{ a.b.outputs.c }}"',
            "",
        ),
        ({"path": "x", "token": ["s3cret"]}, 'option "token" must be text, not (sensitive)', ""),
        (
            {"path": "x", "port": Secret("s3cret")},
            'option "port" must be an integer, not (sensitive)',
            "",
        ),
        (
            {"path": "x", "input": [literal(".inf")]},
            'option "input[0]" holds a number that cannot be stored: .inf',
            'write it in quotes: ".inf"',
        ),
    ],
)
def test_wrong_option_is_named(raw: Raw, message: str, hint: str) -> None:
    assert faults(raw) == [(message, hint)]


def test_all_faults_are_found_at_once() -> None:
    raw: Raw = {"port": "x", "tags": [1, []], "nope": 1, "login": {"user": [], "password": {}}}
    assert [fault.path for fault in decode(raw, Sample, env={})[1]] == [
        ("port",),
        ("tags", 1),
        ("nope",),
        ("login", "user"),
        ("login", "password"),
        ("path",),
    ]


def test_absent_option_comes_from_its_environment_variable() -> None:
    found, problems = decode({}, FromEnvironment, env={"NEEDY_TOKEN": "t", "NEEDY_SIZE": "7"})
    assert (found, problems) == ({"token": Secret("t", ("env NEEDY_TOKEN",)), "size": 7}, [])
    assert faults({}, FromEnvironment) == [
        ('option "token" is required', "set it, or set the environment variable NEEDY_TOKEN")
    ]


def test_written_option_wins_over_environment_variable() -> None:
    assert decode({"token": "own"}, FromEnvironment, env={"NEEDY_TOKEN": "t"}) == (
        {"token": Secret("own")},
        [],
    )


def test_own_checks_of_a_struct_are_run() -> None:
    message = "exactly one of owner and org must be given"
    assert faults({"owner": "a", "org": "b"}, OwnCheck) == [(message, "")]
    assert faults({"owner": "a", "org": REFERENCE}, OwnCheck) == []
    with pytest.raises(ConfigError, match=message):
        build({"owner": "a", "org": "b"}, OwnCheck)


def test_valid_plain_options_are_returned_unchanged() -> None:
    raw: Raw = {"owner": "me"}
    assert decode(raw, OwnCheck, env={}, has_no_literals=True)[0] is raw
    assert decode({"Owner": "me"}, OwnCheck, env={}, has_no_literals=True) == ({"owner": "me"}, [])


def test_build_reveals_secrets() -> None:
    options: dict[str, Value] = {
        "path": "x",
        "imageRepo": "i",
        "visibility": "private",
        "token": Secret("t"),
        "login": {"user": "u", "password": Secret("p")},
        "input": {"k": [Secret("in")]},
    }
    built = build(options, Sample)
    assert built == Sample(
        path="x",
        image_repo="i",
        visibility=Visibility.PRIVATE,
        token="t",
        login=Login(user="u", password="p"),
        input={"k": ["in"]},
    )


def test_build_keeps_unknown_values() -> None:
    options: dict[str, Value] = {
        "path": UNKNOWN,
        "port": REFERENCE,
        "visibility": "private",
        "tags": [UNKNOWN, "a"],
        "login": {"user": UNKNOWN},
        "logins": [{"user": "u"}],
        "token": Digest("00"),
        "env": {"A": UNKNOWN},
    }
    built = build(options, Sample)
    assert built.login is not None
    unknown: list[Any] = [
        built.path,
        built.port,
        built.tags[0],
        built.token,
        built.env["A"],
        built.login.user,
    ]
    assert unknown == [UNKNOWN] * 6
    assert (built.visibility, built.logins, built.kind) == (
        Visibility.PRIVATE,
        [Login(user="u")],
        "go",
    )
    with pytest.raises(UnknownValueError):
        f"{built.path}"


def test_build_converts_resolved_values_and_drops_unknown_keys() -> None:
    built = build({"path": 8080, "port": 1, "instanceID": "old", "image_repo": "i"}, Sample)
    assert (built.path, built.port, built.image_repo) == ("8080", 1, "i")


def test_build_reports_all_faults() -> None:
    with pytest.raises(ConfigError) as caught:
        build({"port": "x", "on": 1}, Sample)
    assert [problem.message for problem in caught.value.problems] == [
        'option "port" must be an integer, not "x"',
        'option "on" must be true or false, not 1',
        'option "path" is required',
    ]


def test_canonicalize_ignores_faults_of_other_versions() -> None:
    recorded: dict[str, Value] = {"image_repo": "i", "port": "x", "instanceID": "default"}
    assert canonicalize(recorded, Sample) == {
        "imageRepo": "i",
        "port": "x",
        "instanceID": "default",
    }


def test_paths_of_replacing_and_secret_options() -> None:
    assert replace_paths(Sample) == {("path",)}
    assert secret_paths(Sample) == {("token",), ("login", "password"), ("logins", "*", "password")}


@pytest.mark.parametrize(
    ("wanted", "given", "fits"),
    [
        (str, int, True),
        (str, list[str], False),
        (int, str, False),
        (float, int, True),
        (int, float, False),
        (bool, bool, True),
        (bool, str, False),
        (list[str], list[int], True),
        (dict[str, str], Login, True),
        (Login, str, False),
        (Any, list[str], True),
        (int, Any, True),
        (str | list[str], list[str], True),
        (str | None, str | None, True),
        (Literal["a"], str, True),
        (Visibility, str, True),
        (int, int | None, True),
        (int, None, False),
    ],
)
def test_assignable_types(wanted: Any, given: Any, fits: bool) -> None:
    assert is_assignable(shapes.type_info(wanted), shapes.type_info(given)) is fits


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (("path",), shapes.StrType),
        (("login", "user"), shapes.StrType),
        (("logins", 3, "user"), shapes.StrType),
        (("env", "A"), shapes.StrType),
        (("input",), shapes.AnyType),
        (("input", "a"), None),
        (("login", "nobody"), None),
    ],
)
def test_declared_type_at_a_path(
    path: tuple[str | int, ...], kind: type[shapes.Type] | None
) -> None:
    shape = type_at_path(Sample, path)
    assert (shape and type(union_members(shape)[0])) is kind
