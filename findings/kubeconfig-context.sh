#!/bin/sh
# The official Kubernetes client for Python takes the current context from the last file of
# KUBECONFIG, but looks it up among contexts where the first file wins.
#
# Version:  kubernetes 35.0.0
# Expected: the first file that sets a value wins, also for `current-context`, as in kubectl:
#           https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
# Actual:   with KUBECONFIG=one:two and a `current-context` in both files, the client uses the name
#           from `two` and the definition from `one`. The client and kubectl therefore use different
#           clusters in the same shell, and the client can use a cluster that neither file selects:
#           here `one` selects blue, `two` selects green at 8002, and the client uses green at 8003,
#           which is the definition in `one`.
# Known:    https://github.com/kubernetes-client/python/pull/2386 (open when this was written)
# dtm:      backends/kubernetes/kubeconfig.py merges the files itself, as kubectl does.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check kubernetes==35.0.0 PyYAML==6.0.3

cat >"$work/one" <<'YAML'
apiVersion: v1
kind: Config
current-context: blue
clusters:
- {name: blue, cluster: {server: "http://127.0.0.1:8001"}}
- {name: other, cluster: {server: "http://127.0.0.1:8003"}}
users: [{name: me, user: {}}]
contexts:
- {name: blue, context: {cluster: blue, user: me}}
- {name: green, context: {cluster: other, user: me}}
YAML
cat >"$work/two" <<'YAML'
apiVersion: v1
kind: Config
current-context: green
clusters: [{name: green, cluster: {server: "http://127.0.0.1:8002"}}]
users: [{name: me, user: {}}]
contexts: [{name: green, context: {cluster: green, user: me}}]
YAML
cat >"$work/show.py" <<'PYTHON'
from kubernetes import client, config

config.load_kube_config()  # sends no request
print(config.list_kube_config_contexts()[1]["name"], client.Configuration.get_default_copy().host)
PYTHON

actual=$(KUBECONFIG="$work/one:$work/two" "$work/venv/bin/python" "$work/show.py")
expected="green http://127.0.0.1:8003"
if [ "$actual" != "$expected" ]; then
    printf 'changed: expected "%s", got "%s"\n' "$expected" "$actual" >&2
    exit 1
fi
printf 'confirmed: %s\n' "$actual"
