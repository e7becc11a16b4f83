#!/bin/sh
# Build the wheel, install it into an empty environment with pinned versions, and use it. $1: the Python that builds.
set -eu
python=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
"$python" -m build --wheel --outdir "$tmp" . >"$tmp/build.log" 2>&1 || { cat "$tmp/build.log" >&2; exit 1; }
"$python" - "$tmp"/*.whl <<'PY'
import sys, zipfile
top = {name.split("/")[0] for name in zipfile.ZipFile(sys.argv[1]).namelist() if ".dist-info" not in name}
assert top == {"dtm", "engine", "backends", "providers"}, f"unexpected top level in the wheel: {sorted(top)}"
PY
"$python" -m venv "$tmp/venv"
"$tmp/venv/bin/python" -m pip install -q --disable-pip-version-check -c constraints.txt "$tmp"/*.whl
mkdir "$tmp/work" && cd "$tmp/work"
dtm="$tmp/venv/bin/dtm"
"$dtm" version
"$dtm" list plugins >/dev/null
"$dtm" show config > config.yaml
"$dtm" apply -y >/dev/null 2>&1
"$dtm" plan --detailed-exitcode >/dev/null
"$dtm" destroy -y >/dev/null 2>&1
echo "wheel: installs into an empty environment and works"
