"""The life of a secret: create, rotate, miss and delete. dtm neither stores nor prints it."""

import json

from tests.e2e.conftest import Runner, Write

TOOLS = """\
variables:
  password: {type: string, sensitive: true}
tools:
- name: command
  instanceID: login
  options:
    create: printf '{"token":"%s","url":"https://u:%s@host","n":1}' "$T" "$T" > made.json
    read: cat made.json 2> /dev/null || true
    delete: rm made.json
    env: {T: "[[ env T ]]"}
- name: command
  instanceID: blind
  options:
    create: echo "$P" > blind.txt
    delete: grep -q "$P" blind.txt && rm blind.txt && echo "bye $P"
    env: {P: "my-[[ password ]]"}
- name: data
  instanceID: d
  options: {input: "with ${{ command.login.outputs.token }}"}
"""
FIRST, SECOND = (
    {"T": "token-111", "DTM_VAR_password": "swordfish"},
    {"T": "token-222", "DTM_VAR_password": "swordfish"},
)
HIDDEN = ("token-1", "token-2", "swordfish")


def without_secrets(output: str) -> str:
    """Return the output, after a check that it contains no secret."""
    assert [word for word in HIDDEN if word in output] == []
    return output


def files_of_dtm(dtm: Runner) -> str:
    """Return the content of every file that dtm has written."""
    files = [
        path
        for path in dtm.folder.rglob("*")
        if path.is_file() and "devstream" in str(path.relative_to(dtm.folder))
    ]
    assert files
    return "".join(path.read_text("utf-8") for path in files)


def test_secret_is_used_rotated_and_never_stored(dtm: Runner, config: Write) -> None:
    config(TOOLS)
    without_secrets(dtm("apply", "-y", env=FIRST))
    assert "nothing to do" in without_secrets(dtm("plan", env=FIRST))
    output = without_secrets(dtm("plan", env=SECOND))
    assert "env.T: (sensitive) → (sensitive)" in output
    assert "Plan: 0 to create, 2 to update, 0 to replace, 0 to delete, 1 unchanged." in output
    assert "outside" not in output
    assert "drifted" not in without_secrets(dtm("drift", env=SECOND))
    without_secrets(dtm("apply", "-y", "--json", env=SECOND))
    assert json.loads((dtm.folder / "made.json").read_text("utf-8"))["token"] == "token-222"
    assert "nothing to do" in without_secrets(dtm("plan", env=SECOND))
    (dtm.folder / "made.json").write_text(
        '{"token":"token-222","url":"https://u:token-222@elsewhere","n":1}', "utf-8"
    )
    assert "~ url: (sensitive) → (sensitive)" in without_secrets(dtm("drift", env=SECOND, code=2))
    without_secrets(dtm("state", "diff", "1", "2", env=SECOND) + dtm("state", "pull", env=SECOND))
    without_secrets(files_of_dtm(dtm))


def test_missing_variable_of_a_delete_is_reported_first(dtm: Runner, config: Write) -> None:
    config(TOOLS)
    dtm("apply", "-y", env=FIRST)
    config("tools: []\n")
    output = without_secrets(dtm("destroy", "-y", code=1, env={"T": "token-111"}))
    assert (
        "Cannot delete command.blind: variable password has no value (option env needs it)."
        in output
    )
    assert "set the value that the tool was created with: export DTM_VAR_password=..." in output
    assert (dtm.folder / "made.json").exists()
    (dtm.folder / "more.yaml").write_text("vars: {password: swordfish}\n", "utf-8")
    dtm("destroy", "-y", "--var-file", "more.yaml", env={"T": "token-111"})
    assert not (dtm.folder / "made.json").exists()
    assert not (dtm.folder / "blind.txt").exists()
    without_secrets(files_of_dtm(dtm))


def test_secret_by_reference_is_refused_in_an_identity(dtm: Runner, config: Write) -> None:
    named = (
        "- {name: file, instanceID: f, "
        "options: {path: 'out/${{ command.login.outputs.token }}.txt', content: x}}\n"
    )
    config(TOOLS + named)
    output = without_secrets(dtm("apply", "-y", code=1, env=FIRST))
    assert "has a secret in its name, and the state stores names in plain text" in output
    assert not (dtm.folder / "out").exists()
    assert "config.yaml:20:3: file/f: has a secret in its name" in without_secrets(
        dtm("plan", code=1, env=FIRST)
    )
    without_secrets(files_of_dtm(dtm))


def test_operation_keeps_its_token_through_two_kills(dtm: Runner, config: Write) -> None:
    config("""\
tools:
- name: command
  instanceID: a
  options:
    create: |
      echo "$DTM_TOKEN" >> tokens
      [ "$(wc -l < tokens)" -gt 2 ] || kill -9 $PPID
      echo '{}' > made.json
    read: cat made.json 2> /dev/null || true
""")
    for code in (-9, -9, 0):
        assert dtm.run("apply", "-y").returncode == code
        (dtm.folder / "made.json").unlink(missing_ok=code != 0)
    tokens = (dtm.folder / "tokens").read_text("utf-8").split()
    assert len(tokens) == 3
    assert len(set(tokens)) == 1
