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


def test_input_comes_out_again_under_the_address() -> None:
    made = PROVIDER.create(DataOptions(input={"a": [1, None]}), CALL)
    assert made == Resource("data.a", {}, {"id": "data.a", "output": {"a": [1, None]}})


def test_everything_but_the_first_id_is_predicted_even_what_is_unknown() -> None:
    options = DataOptions(input=UNKNOWN)
    assert PROVIDER.identity(options) == BY_ADDRESS
    assert PROVIDER.predict(options, None) == {"id": UNKNOWN, "output": UNKNOWN}
    assert PROVIDER.predict(DataOptions(input=1), Resource("data.a")) == {
        "id": "data.a",
        "output": 1,
    }


def test_triggers_replace_it_and_input_does_not() -> None:
    assert replace_paths(DataOptions) == {("triggersReplace",)}


def test_ten_thousand_reads_cost_next_to_nothing() -> None:
    options, resource = DataOptions(input=1), Resource("data.a")
    begin = time.process_time()
    for _ in range(10_000):
        PROVIDER.read(options, resource, CALL)
    assert time.process_time() - begin < 0.1
