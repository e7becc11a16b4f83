"""Print the costs of dtm, and compare them with terraform if it is on the PATH.

Cells are wall seconds / CPU seconds / peak MB. The ratio is the time of terraform divided by
that of dtm.
Run: make bench, or with choices: make bench BENCH="--sizes 100,1000 --shapes flat --no-terraform"
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.measure import Cost, median, run
from tests.bench.shapes import SHAPES, write_dtm, write_terraform, write_terraform_state

APPLIED = 1_000
"""The largest size that terraform applies. For larger ones only its flat plans are measured."""

AIMS = {
    ("", 0, "version"): (0.06, 0.10),
    ("flat", 1000, "plan no-op"): (0.3, 0.5),
    ("flat", 10000, "plan no-op"): (1.2, 4.0),
    ("flat", 1000, "apply"): (0.6, 1.0),
    ("flat", 1000, "destroy"): (0.6, 1.0),
    ("flat", 10000, "apply"): (5.0, 10.0),
    ("dag", 1000, "apply"): (0.8, 1.5),
    ("dag", 1000, "destroy"): (0.8, 1.5),
    ("chain", 1000, "apply"): (1.6, 3.0),
    ("chain", 1000, "destroy"): (1.6, 3.0),
}
"""Wall seconds on two cores: the aim, and the limit that must not be exceeded."""

DTM = [sys.executable, "-m", "dtm"]
COUNT_READS = """
import sys
from providers.data import DataProvider
from dtm.cli.main import main
count = 0
def read(self, *args, original=DataProvider.read):
    global count
    count += 1
    return original(self, *args)
DataProvider.read = read
sys.argv = ["dtm", "plan", "--no-color"]
try:
    main()
finally:
    print("reads:", count, file=sys.stderr)
"""


def say(text: str = "") -> None:
    """Print a line immediately."""
    print(text, flush=True)  # noqa: T201 - figures are this program's output


def dtm_costs(shape: str, n: int, folder: Path, times: int) -> dict[str, Cost]:
    """Measure all operations on one shape, in the order in which a user runs them."""
    write_dtm(shape, n, folder)
    env = {**os.environ, "HOME": str(folder), "NO_COLOR": "1", "DTM_STATE": ""}

    def cost(*words: str, repeat: int = 1) -> Cost:
        return median([*DTM, *words], folder, env, 900, repeat)

    found = {"validate": cost("validate", repeat=times), "plan fresh": cost("plan", repeat=times)}
    found["apply"] = cost("apply", "-y")
    found["plan no-op"] = cost("plan", repeat=times)
    found["--no-refresh"] = cost("plan", "--no-refresh", repeat=times)
    count = subprocess.run(
        [sys.executable, "-c", COUNT_READS],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    reads = count.stderr.rsplit("reads:", 1)[1].strip()
    state = (folder / "devstream.state").stat().st_size
    say(f"  {shape} {n}: state {state:,} bytes; a no-op plan makes {reads} read calls")
    found["destroy"] = cost("destroy", "-y")
    return found


def terraform_costs(shape: str, n: int, folder: Path, limit: float) -> dict[str, Cost]:
    """Measure the same operations with terraform.

    An operation that exceeds the limit is stopped, and those that need its result are left out.
    """
    write_terraform(shape, n, folder)
    empty = folder / "terraformrc"
    empty.touch()
    env = {
        **os.environ,
        "HOME": str(folder),
        "TF_CLI_CONFIG_FILE": str(empty),
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
    }
    quiet = ["-input=false", "-no-color"]
    run(["terraform", "init", *quiet], folder, env, limit)
    found = {"validate": run(["terraform", "validate", "-no-color"], folder, env, limit)}
    steps = {
        "plan fresh": ["plan"],
        "apply": ["apply", "-auto-approve"],
        "plan no-op": ["plan"],
        "--no-refresh": ["plan", "-refresh=false"],
        "destroy": ["destroy", "-auto-approve"],
    }
    if n > APPLIED:
        # The time of terraform's apply is quadratic in the number of resources. So plans of large
        # sizes are measured on a generated state.
        del steps["apply"], steps["destroy"]
    for name, words in steps.items():
        if name == "plan no-op" and n > APPLIED:
            write_terraform_state(n, folder)
        found[name] = run(["terraform", *words, *quiet], folder, env, limit)
        if not found[name].ended:
            break
    state = folder / "terraform.tfstate"
    if found.get("apply") and found["apply"].ended:
        backup = folder / "terraform.tfstate.backup"
        size = max(path.stat().st_size for path in (state, backup) if path.exists())
        say(f"  {shape} {n}: terraform's state {size:,} bytes")
    return found


def table(shape: str, n: int, ours: dict[str, Cost], theirs: dict[str, Cost]) -> None:
    """Print the table of one shape and size."""
    say(
        f"\n{f'{shape} {n}':<16}{'dtm':>24}{'aim (floor)':>14}"
        f"{'terraform':>24}{'times longer':>14}{'memory':>9}"
    )
    for name, cost in ours.items():
        aim = AIMS.get((shape, n, name))
        told = f"{aim[0]} ({aim[1]})" if aim else ""
        say(f"  {name:<14}{cost!s:>24}{told:>14}{_ratio(cost, theirs.get(name))}")


def _ratio(cost: Cost, other: Cost | None) -> str:
    if other is None:
        return ""
    sign, memory = ("", f"{other.memory / cost.memory:.1f}") if other.ended else ("> ", "")
    return f"{other!s:>24}{sign + format(other.wall / cost.wall, '.1f'):>14}{memory:>9}"


def choices() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="100,1000,5000,10000")
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument(
        "--terraform-sizes",
        default="100,1000,10000",
        help="above 1,000 only flat plans are measured",
    )
    parser.add_argument(
        "--limit", type=float, default=600, help="seconds before a terraform command is stopped"
    )
    parser.add_argument(
        "--times",
        type=int,
        default=3,
        help="runs of commands that change nothing; the median is printed",
    )
    parser.add_argument("--no-terraform", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Run the requested measurements."""
    asked = choices()
    compare = bool(shutil.which("terraform")) and not asked.no_terraform
    small = {int(n) for n in asked.terraform_sizes.split(",") if n}
    against = "in the same run" if compare else "not compared"
    say(f"wall s / CPU s / peak MB; {os.cpu_count()} cores; terraform {against}")
    with tempfile.TemporaryDirectory(prefix="dtm-bench-") as temporary:
        top = Path(temporary)
        version = median([*DTM, "version"], top, dict(os.environ), 60, 9)
        say(f"  version       {version}, aim (floor) {AIMS['', 0, 'version']}")
        per_tool: dict[tuple[str, str], dict[int, float]] = {}
        for shape in asked.shapes.split(","):
            for n in (int(size) for size in asked.sizes.split(",")):
                ours = dtm_costs(shape, n, top / f"dtm-{shape}-{n}", asked.times)
                theirs = (
                    terraform_costs(shape, n, top / f"tf-{shape}-{n}", asked.limit)
                    if compare and n in small and (n <= APPLIED or shape == "flat")
                    else {}
                )
                table(shape, n, ours, theirs)
                for name, cost in ours.items():
                    per_tool.setdefault((shape, name), {})[n] = cost.wall / n
        say("\ntime per tool at the largest size over that at 1,000")
        for (shape, name), costs in per_tool.items():
            if 1000 in costs and max(costs) > 1000:
                say(f"  {shape:<6}{name:<14}{costs[max(costs)] / costs[1000]:.2f}")


if __name__ == "__main__":
    main()
