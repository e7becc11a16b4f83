"""Costs of a shared state: dtm and terraform with the same S3 server and lock table.

Cells are wall seconds / CPU seconds / peak MB. Run: python -m tests.bench.shared [N ...]
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.bench.bench import DTM, say
from tests.bench.measure import Cost, median, run
from tests.bench.shapes import write_dtm, write_terraform
from tests.servers.aws import Cloud, ministack
from tests.servers.dynamodb import make_table
from tests.servers.fake_kube import fake_kube

SIZES = (100, 1000, 5000)
BUCKET, TABLE = "bench", "locks"
AIMS = {1000: 5, 5000: 10}
"""Number of tools -> the aim for the time of terraform's apply divided by that of dtm."""
START = {"s3": 0.35, "kubernetes": 0.45}
"""Aims in wall seconds for `dtm state list`."""
QUIET = ["-input=false", "-no-color"]


def environment(cloud: Cloud, home: Path) -> dict[str, str]:
    """Return variables with the servers and credentials, and an empty home folder."""
    (home / "terraformrc").touch()
    return {
        **os.environ,
        "HOME": str(home),
        "NO_COLOR": "1",
        "DTM_STATE": "",
        "AWS_ACCESS_KEY_ID": cloud.access_key,
        "AWS_SECRET_ACCESS_KEY": cloud.secret_key,
        "AWS_REGION": cloud.region,
        "AWS_ENDPOINT_URL_S3": cloud.endpoint,
        "AWS_ENDPOINT_URL_DYNAMODB": cloud.dynamodb,
        "AWS_EC2_METADATA_DISABLED": "true",
        "TF_CLI_CONFIG_FILE": str(home / "terraformrc"),
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
    }


def dtm_costs(n: int, folder: Path, env: Mapping[str, str], times: int) -> dict[str, Cost]:
    """Measure all operations of dtm with `n` tools."""
    write_dtm("flat", n, folder)
    text = (folder / "config.yaml").read_text("utf-8")
    state = f"state: s3://{BUCKET}/dtm-{n}?region=us-east-1&dynamodbTable={TABLE}\n"
    (folder / "config.yaml").write_text(state + text, "utf-8")
    found = {"apply": run([*DTM, "apply", "-y"], folder, dict(env), 900)}
    found["plan, locked"] = median([*DTM, "plan", "--lock"], folder, dict(env), 900, times)
    found["plan, no lock"] = median([*DTM, "plan"], folder, dict(env), 900, times)
    found["destroy"] = run([*DTM, "destroy", "-y"], folder, dict(env), 900)
    return found


def terraform_costs(n: int, folder: Path, env: Mapping[str, str], times: int) -> dict[str, Cost]:
    """Measure the same operations with terraform."""
    write_terraform("flat", n, folder)
    text = (folder / "main.tf").read_text("utf-8")
    backend = (
        f'backend "s3" {{\n    bucket = "{BUCKET}"\n    key = "tf-{n}"\n    region = "us-east-1"\n'
        f'    use_path_style = true\n    dynamodb_table = "{TABLE}"\n'
        "    skip_credentials_validation = true\n    skip_requesting_account_id = true\n"
        "    skip_metadata_api_check = true\n    skip_s3_checksum = true\n  }"
    )
    (folder / "main.tf").write_text(text.replace('backend "local" {}', backend), "utf-8")
    run(["terraform", "init", *QUIET], folder, dict(env), 120)
    found = {"apply": run(["terraform", "apply", "-auto-approve", *QUIET], folder, dict(env), 900)}
    found["plan, locked"] = median(["terraform", "plan", *QUIET], folder, dict(env), 900, times)
    found["plan, no lock"] = median(
        ["terraform", "plan", "-lock=false", *QUIET], folder, dict(env), 900, times
    )
    found["destroy"] = run(
        ["terraform", "destroy", "-auto-approve", *QUIET], folder, dict(env), 900
    )
    return found


def table(n: int, ours: Mapping[str, Cost], theirs: Mapping[str, Cost]) -> None:
    """Print the table of one size."""
    say(f"\n{f'{n} tools on S3':<18}{'dtm':>24}{'terraform':>24}{'times longer':>14}{'aim':>6}")
    for name, cost in ours.items():
        other = theirs.get(name)
        ratio = f"{other!s:>24}{other.wall / cost.wall:>14.1f}" if other else ""
        aim = f"{AIMS[n]:>6}" if other and name in ("apply", "destroy") and n in AIMS else ""
        say(f"  {name:<16}{cost!s:>24}{ratio}{aim}")
    for who, costs in (("dtm", ours), ("terraform", theirs)):
        if costs:
            locking = costs["plan, locked"].wall - costs["plan, no lock"].wall
            say(f"  lock and unlock, {who}: {locking * 1000:.0f} ms")


def starts(cloud: Cloud, home: Path, env: Mapping[str, str]) -> None:
    """Measure `dtm state list` on a small state."""
    say("\ndtm state list        wall / CPU / MB         aim, wall s")
    with fake_kube(home) as kube:
        places = {
            "s3": (f"s3://{BUCKET}/start?region={cloud.region}&dynamodbTable={TABLE}", {}),
            "kubernetes": ("k8s://default/start?context=admin", {"KUBECONFIG": kube.kubeconfig}),
        }
        for name, (url, more) in places.items():
            folder = home / f"start-{name}"
            write_dtm("flat", 10, folder)
            run([*DTM, "apply", "-y", "--state", url], folder, {**env, **more}, 60)
            cost = median([*DTM, "state", "list", "--state", url], folder, {**env, **more}, 60, 7)
            say(f"  {name:<16}{cost!s:>22}{START[name]:>16}")


def main() -> int:
    """Run all measurements."""
    sizes = [int(size) for size in sys.argv[1:]] or SIZES
    compare = bool(shutil.which("terraform"))
    with tempfile.TemporaryDirectory(prefix="dtm-bench-") as temporary:
        top = Path(temporary)
        with ministack(top) as cloud:
            cloud.client("s3", cloud.endpoint).create_bucket(Bucket=BUCKET)
            make_table(cloud.client("dynamodb", cloud.dynamodb), TABLE)
            env = environment(cloud, top)
            starts(cloud, top, env)
            for n in sizes:
                times = 5 if n <= 1000 else 1
                ours = dtm_costs(n, top / f"dtm-{n}", env, times)
                table(n, ours, terraform_costs(n, top / f"tf-{n}", env, times) if compare else {})
    return 0


if __name__ == "__main__":
    sys.exit(main())
