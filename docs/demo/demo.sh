#!/bin/sh
# The main job on real input: a Go web service, its CI, its Argo CD application, and an access note, as a chain of four tools.
# Every step is printed as the command a user would type. Works in .demo/, which is made anew.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
rm -rf .demo
mkdir -p .demo/home
cp "$here"/config.yaml "$here"/variables.yaml "$here"/tools.yaml .demo/
cd .demo
export HOME="$PWD/home"
unset DTM_STATE 2>/dev/null || true

step() { printf '\n\033[1m# %s\033[0m\n' "$1"; }
run() { printf '\033[32m$ %s\033[0m\n' "$1"; sh -c "$1"; }
fails() { printf '\033[32m$ %s\033[0m\n' "$1"; if sh -c "$1"; then echo "expected a non-zero exit" >&2; exit 1; fi; }

step "Four tools, described in three files"
run "cat config.yaml variables.yaml tools.yaml"
step "What would happen?"
run "dtm plan"
step "Make it so"
run "dtm apply --auto-approve"
step "What was made: a real git repository with a service, its CI, a Dockerfile and a Helm chart"
run "git --git-dir repos/me/hello.git log --oneline --reverse main"
run "git --git-dir repos/me/hello.git ls-tree -r --name-only main"
run "dtm output"
step "A second plan is empty"
run "dtm plan --detailed-exitcode"
step "Somebody edits the workflow by hand and removes the note"
run "git clone --quiet repos/me/hello.git work && cd work && echo '# by hand' >> .github/workflows/pr-builder.yml && git -c user.name=Somebody -c user.email=s@example.com commit --quiet -am 'quick fix' && git push --quiet && cd .. && rm -rf work access.txt"
fails "dtm drift"
run "dtm apply --auto-approve"
run "dtm plan --detailed-exitcode"
step "An option changes: only what depends on it follows"
run "sed -i.bak 's/^goVersion: .*/goVersion: \"1.23\"/' variables.yaml"
fails "dtm plan --detailed-exitcode"
run "dtm apply --auto-approve"
step "Every state that was"
run "dtm state history"
step "Destroy it all, dependents first"
run "dtm destroy --auto-approve"
run "dtm state list"
step "Done: nothing is left but the files you wrote"
run "ls"
