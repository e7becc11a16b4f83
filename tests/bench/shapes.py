"""The same graphs for dtm and terraform: flat, dag (layers of 100, 3 parents each) and chain."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

WIDTH = 100
SHAPES = ("flat", "dag", "chain")


def parents(shape: str, i: int) -> list[int]:
    """Return the indices of the nodes that node `i` depends on."""
    if shape == "chain":
        return [i - 1] if i else []
    if shape == "dag" and i >= WIDTH:
        return [(i // WIDTH - 1) * WIDTH + (i % WIDTH * 7 + k * 31) % WIDTH for k in range(3)]
    return []


def write_dtm(shape: str, n: int, folder: Path) -> None:
    """Write a `config.yaml` with n `data` tools."""
    lines = ["tools:"]
    for i in range(n):
        lines += ["- name: data", f"  instanceID: r{i}"]
        if edges := parents(shape, i):
            lines.append("  dependsOn: [" + ", ".join(f"data.r{p}" for p in edges) + "]")
        lines += ["  options:", f"    input: value-{i}"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("\n".join(lines) + "\n", "utf-8")


def write_terraform(shape: str, n: int, folder: Path) -> None:
    """Write a `main.tf` with n `terraform_data` resources and the local backend."""
    blocks = ['terraform {\n  backend "local" {}\n}\n']
    for i in range(n):
        edges = ", ".join(f"terraform_data.r{p}" for p in parents(shape, i))
        depends = f"  depends_on = [{edges}]\n" if edges else ""
        blocks.append(f'resource "terraform_data" "r{i}" {{\n  input = "value-{i}"\n{depends}}}\n')
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.tf").write_text("".join(blocks), "utf-8")


def write_terraform_state(n: int, folder: Path) -> None:
    """Write the state of an applied flat shape, whose apply takes terraform hours at 10,000."""
    provider = 'provider["terraform.io/builtin/terraform"]'
    resources = [_terraform_resource(i, provider) for i in range(n)]
    resources.sort(key=lambda resource: str(resource["name"]))
    state = {
        "version": 4,
        "terraform_version": "1.11.4",
        "serial": 1,
        "lineage": str(uuid.UUID(int=n)),
        "outputs": {},
    }
    (folder / "terraform.tfstate").write_text(
        json.dumps({**state, "resources": resources, "check_results": None}), "utf-8"
    )


def _terraform_resource(i: int, provider: str) -> dict[str, object]:
    value = {"value": f"value-{i}", "type": "string"}
    attributes = {
        "id": str(uuid.UUID(int=i)),
        "input": value,
        "output": value,
        "triggers_replace": None,
    }
    instance = {"schema_version": 0, "attributes": attributes, "sensitive_attributes": []}
    return {
        "mode": "managed",
        "type": "terraform_data",
        "name": f"r{i}",
        "provider": provider,
        "instances": [instance],
    }
