"""Variables: their sources and precedence, their types, and the rendering of `[[ ]]`."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from engine.address import Address
from engine.config import Config
from engine.errors import ConfigError
from engine.language.expressions import RawValue
from engine.language.references import Interpolation, Reference
from engine.language.scalars import Literal
from engine.language.yaml import parse
from engine.loading.loader import ConfigSource, load
from engine.loading.problems import Report
from engine.loading.variables import Binding, Declaration, Scope
from engine.values import UNKNOWN, Secret, Value
from tests.engine.loading.catalog import FakeCatalog


def document(text: str) -> RawValue:
    return parse("x", text).documents[0]


def scope(report: Report, variables: str = "{}", env: Mapping[str, str] | None = None) -> Scope:
    found = document(variables)
    assert isinstance(found, dict)
    return Scope({name: Binding(value) for name, value in found.items()}, env or {}, report)


def render(text: str, variables: str = "{}", env: Mapping[str, str] | None = None) -> Value:
    report = Report()
    rendered = scope(report, variables, env).render(document(f"v: {text}\n"))
    assert report.problems == []
    assert isinstance(rendered, dict)
    return rendered["v"]


REFERENCE = Reference(Address("a", "b"), ("c",), "${{ a.b.outputs.c }}")


@pytest.mark.parametrize(
    ("text", "variables", "value"),
    [
        ("[[ x ]]", "x: text", "text"),
        ("[[x]]", "x: 5", 5),
        ("[[ x ]]", "x: [1, {a: b}]", [1, {"a": "b"}]),
        ("[[ x ]]", "x: ", None),
        ("[[ x ]]", "x: 1.10", Literal(1.1, "1.10")),
        ("[[ .x ]]", "x: 5", 5),
        ("[[ x.a.1 ]]", "x: {a: [b, c]}", "c"),
        ("[[ ключ ]]", "ключ: 5", 5),
        ("[[ данные.名前-é ]]/[[कुंजी]]", "{данные: {名前-é: a}, कुंजी: b}", "a/b"),
        ("[[ ключ | default: нет ]]", "{}", "нет"),
        ("v[[ x ]]", "x: 1.10", "v1.10"),
        ("[[ x ]]-[[ y ]]", "{x: True, y: 0x1F}", "True-0x1F"),
        ("[[ x ]]:[[ y ]]", "{x: true, y: 31}", "true:31"),
        ("a [[ x ]] b", "x: {b: [1, null], a: 1.10}", 'a {"a":1.1,"b":[1,null]} b'),
        ("[[ a ]]/[[ b ]]", "{a: '<b>&\"', b: '#: [x'}", '<b>&"/#: [x'),
        ("$1 [[ x ]] \\1", "x: $2", "$1 $2 \\1"),
        ("[[ x ]]", "x: ${{ a.b.outputs.c }}", REFERENCE),
        ("x/[[ x ]]", "x: ${{ a.b.outputs.c }}", Interpolation(("x/", REFERENCE))),
        (
            "${{ a.b.outputs.c }}/[[ x ]]",
            "x: y-${{a.b.outputs.c}}",
            Interpolation((REFERENCE, "/", "y-", REFERENCE)),
        ),
        ("${{ secrets.X }}/[[ x ]]", "x: 1", "${{ secrets.X }}/1"),
        ("[[ c ]]", "{a: '[[ b]]a', b: 123, c: '[[a]]c', d: 1}", "123ac"),
        ("[[a]]/[[ c ]]/[[b]]", "{a: '[[ b]]a', b: 123, c: '[[a]]c'}", "123a/123ac/123"),
        ("{[[ k ]]: 1, x[[ k ]]: 2}", "k: key", {"key": 1, "xkey": 2}),
        ("{[[ k ]]: 1}", "k: 1.10", {"1.10": 1}),
        ("[[ x | default: y ]]", "{}", "y"),
        ("[[ x | default: 5 ]]", "{}", 5),
        ('[[ x | default: "5" ]]', "{}", "5"),
        ("[[ x | default: ]]", "{}", None),
        ("[[ x | default: y ]]", "x: z", "z"),
        ("[[ x.b | default: y ]]", "x: {a: 1}", "y"),
        ("a-[[ x | default: b c ]]", "{}", "a-b c"),
    ],
)
def test_rendered_values(text: str, variables: str, value: Value) -> None:
    assert render(text, variables) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[[ env TOKEN ]]", Secret("s3cret", ("env TOKEN",))),
        ("[[env TOKEN]]", Secret("s3cret", ("env TOKEN",))),
        ('[[ env "TOKEN" ]]', Secret("s3cret", ("env TOKEN",))),
        ('"[[ env \\"TOKEN\\" ]]"', Secret("s3cret", ("env TOKEN",))),
        ("[[ env 'TOKEN' ]]", Secret("s3cret", ("env TOKEN",))),
        ("[[ env X ]]", Secret("x", ("env X",))),
        (
            "Bearer [[ env TOKEN ]][[ env X ]]",
            Secret("Bearer s3cretx", ("text Bearer [[ env TOKEN ]][[ env X ]]",)),
        ),
        (
            "[[ env TOKEN ]]/${{ a.b.outputs.c }}",
            Interpolation((Secret("s3cret", ("env TOKEN",)), "/", REFERENCE)),
        ),
        ("[[ env NONE | default: x ]]", "x"),
        ("[[ env EMPTY | default: 7 ]]", 7),
    ],
)
def test_values_from_the_environment_are_secrets(text: str, value: Value) -> None:
    assert render(text, env={"TOKEN": "s3cret", "X": "x", "EMPTY": ""}) == value


def test_text_around_a_map_with_a_secret_is_a_secret() -> None:
    variables = {"creds": Binding(document("{user: me, pass: '[[ env P ]]'}"))}
    report = Report()
    found = Scope(variables, {"P": "pw"}, report).render(document("[x-[[ creds ]]]\n"))
    assert found == [
        Secret('x-{"pass":"pw","user":"me"}', ('text x-{"pass":"[[ env P ]]","user":"me"}',))
    ]
    assert not report.problems


def test_secrets_stay_secret_through_variables_and_paths() -> None:
    variables = {
        "creds": Binding(
            document("{user: me, pass: '[[ env P ]]'}"), declared=Declaration(sensitive=True)
        )
    }
    report = Report()
    found = Scope(variables, {"P": "pw"}, report).render(
        document("[x-[[ creds.user ]], '[[ creds.pass ]]']\n")
    )
    assert found == [
        Secret("x-me", ("text x-[[ var creds.user ]]",)),
        Secret("pw", ("env P", "var creds.pass")),
    ]
    assert report.problems == []


def test_invalid_expression_makes_only_its_value_unknown() -> None:
    report = Report()
    text = "{a: '[[ no ]]', b: ['x[[ no ]]', 1], c: '[[ x ]]'}\n"
    assert scope(report, "x: 1").render(document(text)) == {"a": UNKNOWN, "b": [UNKNOWN, 1], "c": 1}
    assert [problem.where for problem in report.problems] == ["x:1:6", "x:1:23"]


def loaded(
    tmp_path: Path,
    files: Mapping[str, str],
    *,
    env: Mapping[str, str] | None = None,
    **arguments: object,
) -> Config:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    variables = arguments.get("variables", ())
    var_files = arguments.get("var_files", ())
    assert isinstance(variables, tuple)
    assert isinstance(var_files, tuple)
    return load(
        ConfigSource(tmp_path / "config.yaml", variables, var_files, env or {}, tmp_path),
        FakeCatalog(),
    )


TOOL = "tools: [{name: data, instanceID: a, options: {input: [[ x ]]}}]\n"


def test_strongest_source_wins(tmp_path: Path) -> None:
    config = f"variables: {{x: {{default: default}}}}\n{TOOL}"
    given: dict[str, Value] = {}
    files = {
        "config.yaml": config,
        "more.yaml": "x: --var-file\n",
        "most.yaml": "vars: {x: later}\n",
    }
    given["default"] = loaded(tmp_path, files).tools[0].options["input"]
    env = {"DTM_VAR_x": "DTM_VAR_", "DTM_VAR_unknown": "silent"}
    given["env"] = loaded(tmp_path, files, env=env).tools[0].options["input"]
    files["config.yaml"] = f"{config}---\nx: vars\n"
    given["vars"] = loaded(tmp_path, files, env=env).tools[0].options["input"]
    given["file"] = (
        loaded(tmp_path, files, env=env, var_files=(Path("more.yaml"),)).tools[0].options["input"]
    )
    both = (Path("more.yaml"), tmp_path / "most.yaml")
    given["files"] = loaded(tmp_path, files, env=env, var_files=both).tools[0].options["input"]
    given["flag"] = (
        loaded(tmp_path, files, env=env, var_files=both, variables=(("x", "a"), ("x", "b")))
        .tools[0]
        .options["input"]
    )
    assert given == {
        "default": "default",
        "env": "DTM_VAR_",
        "vars": "vars",
        "file": "--var-file",
        "files": "later",
        "flag": "b",
    }


def test_env_in_an_expression_is_not_a_variable(tmp_path: Path) -> None:
    tool = TOOL.replace("[[ x ]]", "[[ x ]] [[ env HOME ]]")
    files = {"config.yaml": f"vars: {{x: y}}\n{tool}"}
    assert "env HOME" in files["config.yaml"]
    with pytest.raises(ConfigError, match='the configuration has no variable "env"'):
        loaded(tmp_path, files, env={"HOME": "/home/me"}, variables=(("env", "a"),))


@pytest.mark.parametrize(
    ("declaration", "text", "value"),
    [
        ("{}", "1.10", 1.1),
        ("{}", "true", True),
        ("{}", "[1, 2]", "[1, 2]"),
        ("{type: string}", "1.10", "1.10"),
        ("{type: string}", "true", "true"),
        ("{type: number}", "5", 5),
        ("{type: bool}", "False", False),
        ("{type: list}", "[1, a]", [1, "a"]),
        ("{type: map}", "{a: 1}", {"a": 1}),
        ("{type: any}", "", None),
        ("{type: string}", "", ""),
    ],
)
def test_flags_and_environment_are_scalars_unless_declared(
    tmp_path: Path, declaration: str, text: str, value: Value
) -> None:
    files = {"config.yaml": f"variables: {{x: {declaration}}}\n{TOOL}"}
    for config in (
        loaded(tmp_path, files, variables=(("x", text),)),
        loaded(tmp_path, files, env={"DTM_VAR_x": text}),
    ):
        assert config.tools[0].options["input"] == value


@pytest.mark.parametrize(
    ("declaration", "value", "found"),
    [
        ("{type: string}", "1.10", "1.10"),
        ("{type: number}", "0x10", 16),
        ("{sensitive: true}", "5", Secret(5, ("var x",))),
        ("{sensitive: true}", "1.10", Secret(1.1, ("var x",))),
        ("{sensitive: true}", "{a: '[[ env E ]]'}", Secret({"a": "e"}, ("env E", "var x"))),
        ("{type: list}", "[[[ y ]], b]", ["z", "b"]),
        ("{validation: {pattern: '^[a-z]+$', min: 2, max: 3}}", "abc", "abc"),
        ("{validation: {oneOf: [1, 2]}}", "2", 2),
        ("{type: list, validation: {min: 1}}", "[a]", ["a"]),
        ("", "5", 5),
    ],
)
def test_values_are_converted_to_their_declared_type(
    tmp_path: Path, declaration: str, value: str, found: Value
) -> None:
    config = loaded(
        tmp_path,
        {"config.yaml": f"variables: {{x: {declaration}}}\nvars: {{x: {value}, y: z}}\n{TOOL}"},
        env={"E": "e"},
    )
    assert config.tools[0].options["input"] == found


def test_unused_variable_in_a_file_is_a_warning(tmp_path: Path) -> None:
    files = {"config.yaml": f"vars: {{x: 1}}\n{TOOL}", "more.yaml": "x: 2\nunused: 3\n"}
    assert loaded(tmp_path, files, var_files=(Path("more.yaml"),)).warnings == (
        'more.yaml:2:1: variable "unused" is not used anywhere',
    )


def test_variable_used_in_an_expression_is_known_to_var(tmp_path: Path) -> None:
    files = {"config.yaml": TOOL, "more.yaml": "x: '[[ y ]]'\n"}
    config = loaded(tmp_path, files, var_files=(Path("more.yaml"),), variables=(("y", "deep"),))
    assert config.tools[0].options["input"] == "deep"


@pytest.mark.parametrize("name", ["missing.yaml", "list.yaml"])
def test_unreadable_file_of_variables_is_a_problem(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        loaded(
            tmp_path,
            {"config.yaml": TOOL, "list.yaml": "- x\n"},
            var_files=(Path(name),),
            variables=(("x", "1"),),
        )


def test_text_that_is_not_utf8_is_a_problem(tmp_path: Path) -> None:
    broken = "caf\udce9"
    for arguments in ({"variables": (("x", broken),)}, {"env": {"DTM_VAR_x": broken}}):
        with pytest.raises(ConfigError, match="is not valid UTF-8"):
            loaded(tmp_path, {"config.yaml": TOOL}, **arguments)
    with pytest.raises(ConfigError, match="environment variable E is not valid UTF-8"):
        loaded(tmp_path, {"config.yaml": TOOL.replace("[[ x ]]", "[[ env E ]]")}, env={"E": broken})
