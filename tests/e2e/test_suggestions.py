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
        ("show config -p fil", 'did you mean "file"?'),
        ("show config -t gitop", 'did you mean "gitops"?'),
        ("develop validate-plugin comand", 'did you mean "command"?'),
        ("plan --var wo=1", 'did you mean "who"?'),
        ("plan --state s33://b/k", "did you mean s3://"),
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
    assert 'did you mean "data/hello"?' in dtm("state", "show", "data.helo", code=1)
    assert 'did you mean "greeting"?' in dtm("output", "greetin", code=1)
    assert "list the tools with dtm state list" in dtm("show", "status", "-p", "dta", code=1)
