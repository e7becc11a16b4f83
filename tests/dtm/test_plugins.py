import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from backends.url import LATER_BACKENDS
from dtm.plugins import BACKENDS, BUILT_IN, DEVSTREAM_PLUGINS, Backends, Offer, Plugins
from engine.errors import PluginError

ROOT = Path(__file__).parents[2]
OURS = "providers.data:DataProvider"


def plugins(*offers: Offer) -> Plugins:
    return Plugins(lambda: offers)


def never() -> Sequence[Offer]:
    raise AssertionError("other packages were looked at")


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_built_in_plugin_needs_no_scan_of_other_packages(name: str) -> None:
    found = Plugins(never)
    schema = found.find(name)
    assert schema is not None
    assert (schema.name, schema.plugin) == (name, found[name].plugin)
    assert (schema.options, schema.outputs) == (found[name].options, found[name].outputs)
    assert found[name] is found[name]


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_canonical_name_of_built_in_plugin_is_built_in(name: str) -> None:
    assert Plugins(never)[name].plugin in BUILT_IN


def test_plugin_of_another_package_is_found() -> None:
    found = plugins(("mine", OURS, "mine-dist"))
    schema = found.find("mine")
    assert schema is not None
    assert (schema.name, schema.plugin) == ("mine", "data")
    assert list(found) == sorted([*BUILT_IN, "mine"])
    assert len(found) == len(BUILT_IN) + 1


def test_unknown_plugin_has_no_schema_and_no_provider() -> None:
    found = plugins()
    assert found.find("mine") is None
    assert "mine" not in found
    with pytest.raises(PluginError, match="there is no plugin mine") as error:
        found["mine"]
    assert error.value.hint == "list all plugins with dtm list plugins"


@pytest.mark.parametrize("name", sorted(DEVSTREAM_PLUGINS - BUILT_IN.keys()))
def test_devstream_plugin_that_is_not_shipped_has_its_own_error(name: str) -> None:
    found = plugins()
    assert name in found.unshipped()
    assert found.find(name) is None
    with pytest.raises(
        PluginError, match=f"plugin {name} is known from DevStream, but not part of this version"
    ):
        found[name]


def test_another_package_may_offer_an_unshipped_plugin() -> None:
    assert plugins(("jira", OURS, "jira-dist")).find("jira") is not None


def test_no_plugin_is_both_built_in_and_unshipped() -> None:
    assert not set(plugins().unshipped()) & BUILT_IN.keys()


@pytest.mark.parametrize(
    ("offers", "message"),
    [
        (
            [("mine", OURS, "one"), ("mine", OURS, "two")],
            "plugin mine is offered by one and by two",
        ),
        ([("file", OURS, "one")], "plugin file is offered by dtm itself and by one"),
    ],
)
def test_name_clash_of_packages_is_an_error(offers: list[Offer], message: str) -> None:
    found = plugins(*offers)
    assert found["file"].plugin == "file"
    with pytest.raises(PluginError, match=message):
        found.find("unknown")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "no_such_module:X",
            "plugin mine cannot be loaded from no_such_module:X: ModuleNotFoundError",
        ),
        (
            "providers.data:Absent",
            "plugin mine cannot be loaded from providers.data:Absent: AttributeError",
        ),
        (
            "providers.data:DataOutputs",
            "plugin mine cannot be loaded from providers.data:DataOutputs: TypeError",
        ),
        (
            "builtins:dict",
            r"plugin mine \(builtins:dict\) is not a provider: "
            r"it has no plugin, options, outputs, identity",
        ),
    ],
)
def test_plugin_that_cannot_be_loaded_is_named(spec: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        plugins(("mine", spec, "dist"))["mine"]


def test_installed_packages_are_scanned_for_entry_points(tmp_path: Path) -> None:
    (tmp_path / "my_plugin.py").write_text(
        "from providers.data import DataProvider as Mine", "utf-8"
    )
    info = tmp_path / "my_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: my-plugin\nVersion: 1.0\n", "utf-8"
    )
    (info / "entry_points.txt").write_text("[dtm.providers]\nmine = my_plugin:Mine\n", "utf-8")
    script = (
        "from dtm.plugins import installed; "
        "print(installed()['mine'].plugin, 'mine' in installed().names())"
    )
    assert python(script, str(tmp_path), str(ROOT)) == "data True"


def python(script: str, *path: str) -> str:
    setup = f"import sys; sys.path[:0] = {list(path)!r}\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", setup + script], capture_output=True, text=True
    )
    return (done.stdout + done.stderr).strip()


def test_loading_one_plugin_imports_no_other() -> None:
    script = (
        "from dtm.plugins import installed; installed()['data']\n"
        "heavy = ('providers.', 'subprocess', 'importlib.metadata')\n"
        "print(sorted(m for m in sys.modules if m.startswith(heavy)))"
    )
    assert python(script, str(ROOT)) == "['providers.data']"


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_built_in_backend_needs_no_scan_of_other_packages(name: str) -> None:
    found = Backends(never)
    schema = found.find(name)
    assert schema is not None
    assert (schema.plugin, schema.options) == (
        "kubernetes" if name == "k8s" else name,
        found[name].OPTIONS,
    )


def test_backend_of_another_package_is_found() -> None:
    found = Backends(lambda: [("mine", "backends.memory", "mine-dist")])
    assert found["mine"].OPTIONS is found["memory"].OPTIONS
    assert found.names() == ["local", "s3", "kubernetes", "k8s", "mine"]


@pytest.mark.parametrize(
    ("offer", "message"),
    [
        (
            ("x", "no_such_module", "dist"),
            "state backend x cannot be loaded from no_such_module: ModuleNotFoundError",
        ),
        (
            ("x", "string", "dist"),
            r"state backend x \(string\) is not a backend: it has no OPTIONS, open_backend",
        ),
        (
            ("s3", "backends.memory", "dist"),
            "state backend s3 is offered by dtm itself and by dist",
        ),
    ],
)
def test_unusable_backend_is_named(offer: Offer, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        Backends(lambda: [offer])["x"]


def test_another_package_may_offer_a_reserved_backend() -> None:
    assert set(Backends(tuple).unshipped()) == LATER_BACKENDS
    found = Backends(lambda: [("gcs", "backends.memory", "dist")])
    assert "gcs" not in found.unshipped()
    assert found.find("gcs") is not None
