#!/bin/sh
# The main job on real input: a Go web service, its CI, its Argo CD application, and an access note, as a chain of four tools.
# Every step is printed as the command a user would type. Works in .demo/, which is made anew.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
rm -rf .demo
mkdir -p .demo/home .demo/chain
cp "$here"/config.yaml "$here"/variables.yaml "$here"/tools.yaml .demo/chain/
cd .demo
export HOME="$PWD/home" GIT_CONFIG_NOSYSTEM=1 GIT_PAGER=cat
unset DTM_STATE GIT_DIR GIT_WORK_TREE GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
cd chain

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$(printf '\033[1m') green=$(printf '\033[32m') off=$(printf '\033[0m'); else bold= green= off=; fi
step() { printf '\n%s# %s%s\n' "$bold" "$1" "$off"; }
run() { ends 0 "$1"; }
ends() { # exit code, command
  printf '%s$ %s%s\n' "$green" "$2" "$off"
  code=0
  sh -c "$2" 2>&1 || code=$?
  [ "$code" = "$1" ] || { echo "expected exit code $1, got $code" >&2; exit 1; }
}

step "Four tools in three files: a Go service in a git repository, its CI, its Argo CD application, a note"
run "cat config.yaml variables.yaml tools.yaml"

step "What would happen?"
run "dtm plan"

step "Make it so"
run "dtm apply --auto-approve"

step "What was made: a real git repository with a service, its CI, a Dockerfile, a Helm chart and a manifest"
run "git -C repos/me/hello.git log --oneline --reverse main"
run "git -C repos/me/hello.git ls-tree -r --name-only main"
run "git -C repos/me/hello.git show main:argocd/hello.yaml"
run "dtm output clone"

step "A second plan is empty"
run "dtm plan --detailed-exitcode"

step "Somebody edits the workflow by hand, and removes the note"
run "git clone --quiet repos/me/hello.git work"
run "echo '# quick fix' >> work/.github/workflows/main.yml"
run "git -C work -c user.name=Somebody -c user.email=somebody@example.com commit --quiet -am 'Quick fix'"
run "git -C work push --quiet"
run "rm -rf work access.txt"

step "dtm finds both (exit code 2) and repairs them"
ends 2 "dtm drift"
run "dtm apply --auto-approve --quiet"
run "dtm plan --detailed-exitcode"

step "A variable changes: one tool follows"
run "sed -i.old 's/1.22/1.23/' variables.yaml && rm variables.yaml.old"
run "dtm apply --auto-approve"
run "git -C repos/me/hello.git log --format='%h %s (%an)' --reverse main"

step "Every state that was, and what the last run changed"
run "dtm state history"
run "dtm state diff 1"

step "Destroy it all, dependents first; a repository that others committed to is kept under another name"
run "dtm destroy --auto-approve"
run "dtm state list"

step "What is left: the files you wrote, the state with its history, and what somebody else committed"
run "ls"
run "find repos -maxdepth 2"
run "git -C repos/me/hello.git.kept-1 log --format='%h %s (%an)' --author=Somebody --all"
