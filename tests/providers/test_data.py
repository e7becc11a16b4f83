import time
from pathlib import Path

from engine.address import Address
from engine.options.fields import replace_paths
from engine.ports import BY_ADDRESS, Call
from engine.state import Resource
from engine.values import UNKNOWN
from providers.data import DataOptions, DataProvider

PROVIDER = DataProvider()
CALL = Call(Address("data", "a"), Path("/nowhere"))


def test_input_is_the_output() -> None:
    made = PROVIDER.create(DataOptions(input={"a": [1, None]}), CALL)
    assert made == Resource("data.a", {}, {"id": "data.a", "output": {"a": [1, None]}})


def test_outputs_are_predicted_except_the_first_id() -> None:
    options = DataOptions(input=UNKNOWN)
    assert PROVIDER.identity(options) == BY_ADDRESS
    assert PROVIDER.predict(options, None) == {"id": UNKNOWN, "output": UNKNOWN}
    assert PROVIDER.predict(DataOptions(input=1), Resource("data.a")) == {
        "id": "data.a",
        "output": 1,
    }


def test_only_triggers_replace_forces_replacement() -> None:
    assert replace_paths(DataOptions) == {("triggersReplace",)}


def test_ten_thousand_reads_take_little_time() -> None:
    options, resource = DataOptions(input=1), Resource("data.a")
    begin = time.process_time()
    for _ in range(10_000):
        PROVIDER.read(options, resource, CALL)
    assert time.process_time() - begin < 0.1
