"""Foreseeable refusals: plan warns of them, and a refused apply writes nothing."""

from tests.e2e.conftest import Runner, Write

MISSING = """
tools:
- {name: command, instanceID: c, options: {create: [no-such-program]}}
- {name: data, instanceID: a, options: {input: 1}}
"""
PROTECTED = """
tools:
- {name: data, instanceID: a, options: {input: 1}, lifecycle: {preventDestroy: true}}
- {name: data, instanceID: b, options: {input: 1}}
"""
REST = """
tools:
- {name: data, instanceID: b, options: {input: 1}}
"""
SCAFFOLD = """- name: repo-scaffolding
  instanceID: a
  options: {destinationRepo: {url: ./r.git}, sourceRepo: golang-cli}
"""
WORKFLOW = """- name: github-actions
  instanceID: ci
  options: {scm: {url: ./r.git}, pipeline: {language: {name: go}}}
"""


def test_plan_warns_of_a_missing_program(dtm: Runner, config: Write) -> None:
    config(MISSING)
    output = dtm("plan")
    assert "command/c: Apply will refuse this plan: no-such-program is not installed" in output
    assert "no-such-program is not installed" in dtm("apply", "-y", code=1)
    assert list(dtm.folder.glob("devstream*")) == []


def test_plan_warns_of_a_protected_deletion(dtm: Runner, config: Write) -> None:
    config(PROTECTED)
    dtm("apply", "-y")
    refusal = "will refuse this plan: protected by lifecycle.preventDestroy: data/a"
    assert refusal not in dtm("plan")
    assert f"Destroy {refusal}" in dtm("plan", "--destroy")
    config(REST)
    assert f"Apply {refusal}" in dtm("plan")
    assert "protected by lifecycle.preventDestroy: data/a" in dtm("apply", "-y", code=1)


def test_plan_warns_of_a_missing_repository(dtm: Runner, config: Write) -> None:
    config(f"tools:\n{WORKFLOW}")
    output = dtm("plan")
    assert (
        f"github-actions/ci: Apply will refuse this plan: scm: {dtm.folder}/r.git does not exist"
        in output
    )
    config(f"tools:\n{SCAFFOLD}{WORKFLOW}  dependsOn: [repo-scaffolding.a]\n")
    assert "will refuse" not in dtm("plan")
    dtm("apply", "-y")
    config(
        f"tools:\n{SCAFFOLD.replace('r.git', 'other.git')}"
        f"{WORKFLOW}  dependsOn: [repo-scaffolding.a]\n"
    )
    assert (
        "the recorded repository is ./r.git, but the options name another one, ./other.git"
        in dtm("plan", code=1)
    )
