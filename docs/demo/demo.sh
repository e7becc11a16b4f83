#!/bin/sh
# Demonstrates dtm with four dependent tools: a Go web service in a git repository, its CI workflow, its Argo CD application, and a
# text file. Prints every command before it runs it, and stops if a command has an unexpected exit code. Works in .demo/, which it
# deletes first.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
rm -rf .demo
mkdir -p .demo/home .demo/chain
cp "$here"/config.yaml "$here"/variables.yaml "$here"/tools.yaml .demo/chain/
cd .demo
# The user's git settings and environment would change the output.
export HOME="$PWD/home" GIT_CONFIG_NOSYSTEM=1 GIT_PAGER=cat
unset DTM_STATE GIT_DIR GIT_WORK_TREE GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
cd chain

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$(printf '\033[1m') green=$(printf '\033[32m') off=$(printf '\033[0m'); else bold= green= off=; fi
step() { printf '\n%s# %s%s\n' "$bold" "$1" "$off"; }
run() { ends 0 "$1"; }
ends() { # expected exit code, command
  printf '%s$ %s%s\n' "$green" "$2" "$off"
  code=0
  sh -c "$2" 2>&1 || code=$?
  [ "$code" = "$1" ] || { echo "expected exit code $1, got $code" >&2; exit 1; }
}

step "The configuration: four tools in three files"
run "cat config.yaml variables.yaml tools.yaml"

step "Show the plan"
run "dtm plan"

step "Apply it"
run "dtm apply --auto-approve"

step "Look at the result: a git repository with a service, its CI, a Dockerfile, a Helm chart and a manifest"
run "git -C repos/me/hello.git log --oneline --reverse main"
run "git -C repos/me/hello.git ls-tree -r --name-only main"
run "git -C repos/me/hello.git show main:argocd/hello.yaml"
run "dtm output clone"

step "Plan again: there are no changes"
run "dtm plan --detailed-exitcode"

step "Another user edits the workflow and deletes the text file"
run "git clone --quiet repos/me/hello.git work"
run "echo '# quick fix' >> work/.github/workflows/main.yml"
run "git -C work -c user.name=Alice -c user.email=alice@example.com commit --quiet -am 'Quick fix'"
run "git -C work push --quiet"
run "rm -rf work access.txt"

step "Find both changes (exit code 2) and repair them"
ends 2 "dtm drift"
run "dtm apply --auto-approve --quiet"
run "dtm plan --detailed-exitcode"

step "Change a variable: one tool is updated"
run "sed -i.old 's/1.22/1.23/' variables.yaml && rm variables.yaml.old"
run "dtm apply --auto-approve"
run "git -C repos/me/hello.git log --format='%h %s (%an)' --reverse main"

step "Show the history, and what changed since the first snapshot"
run "dtm state history"
run "dtm state diff 1"

step "Delete everything, dependents first. The repository has a commit of another user, so dtm keeps it under another name"
run "dtm destroy --auto-approve"
run "dtm state list"

step "What remains: your files, the state with its history, and the commit of the other user"
run "ls"
run "find repos -maxdepth 2"
run "git -C repos/me/hello.git.kept-1 log --format='%h %s (%an)' --author=Alice --all"
