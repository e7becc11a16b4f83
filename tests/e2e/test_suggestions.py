"""A name with a typo gets a suggestion, wherever it is typed."""

import pytest

from tests.e2e.conftest import Runner, Write

CONFIG = """
vars: {who: world}
tools:
- {name: data, instanceID: hello, options: {input: "[[ who ]]"}}
outputs: {greeting: "${{ data.hello.outputs.output }}"}
"""


@pytest.mark.parametrize(
    ("words", "output"),
    [
        ("aply", 'Did you mean "apply"?'),
        ("state lst", "Did you mean 'list'?"),
        ("plan --no-refesh", "Did you mean '--no-refresh'?"),
        ("plan --destory", "Did you mean '--destroy'?"),
        ("--json-lines plan", "Write it after a command, for example: dtm plan --json-lines"),
        ("show config -p fil", 'check the spelling: "file" is similar'),
        ("show config -t gitop", 'check the spelling: "gitops" is similar'),
        ("develop validate-plugin comand", 'check the spelling: "command" is similar'),
        ("plan --var wo=1", 'check the spelling: "who" is similar'),
        ("plan --state s33://b/k", "check the spelling: s3://"),
    ],
)
def test_typo_in_arguments_gets_a_suggestion(
    words: str, output: str, dtm: Runner, config: Write
) -> None:
    config(CONFIG)
    assert output in dtm(*words.split(), code=1)


def test_typo_in_a_recorded_name_gets_a_suggestion(dtm: Runner, config: Write) -> None:
    config(CONFIG)
    dtm("apply", "-y")
    assert 'check the spelling: "data/hello" is similar' in dtm(
        "state", "show", "data.helo", code=1
    )
    assert 'check the spelling: "greeting" is similar' in dtm("output", "greetin", code=1)
    assert "list the tools with dtm state list" in dtm("show", "status", "-p", "dta", code=1)
