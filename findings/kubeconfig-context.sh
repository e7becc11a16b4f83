#!/bin/sh
# The official Kubernetes client for Python takes the current context from the last file of
# KUBECONFIG, but a context of a repeated name from the first file.
#
# Version:   kubernetes 35.0.0
# Expected:  the first file that sets a value wins, for `current-context` too, as in kubectl:
#            https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
# Behaviour: with KUBECONFIG=one:two, and `current-context` in both, the client takes that of `two`
#            and looks it up among the contexts of both, where those of `one` win. So the client and
#            kubectl talk to different clusters in the same shell, and the client can talk to one
#            that neither file selects: `one` says blue, `two` says green at 8002, and it asks green
#            at 8003, as `one` defines it.
# Known:     https://github.com/kubernetes-client/python/pull/2386 (open when this was written)
# dtm:       backends/kubernetes/kubeconfig.py merges the files itself, as kubectl does.
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

seen=$(KUBECONFIG="$work/one:$work/two" "$work/venv/bin/python" "$work/show.py")
wanted="green http://127.0.0.1:8003"
if [ "$seen" != "$wanted" ]; then
    printf 'changed: expected "%s", saw "%s"\n' "$wanted" "$seen" >&2
    exit 1
fi
printf 'as described: %s\n' "$seen"
