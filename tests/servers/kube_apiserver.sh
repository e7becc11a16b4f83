#!/bin/sh
# Builds kube-apiserver from the source package `kubernetes` of Debian bookworm with Debian's own Go, without network beyond apt.
# Usage: kube_apiserver.sh BINARY   Needs go, make, jq, rsync, patch, xz; about 2 GB beside BINARY while it works, 3 to 4 minutes once.
set -eu
binary=$1
room=$(mktemp -d "$binary.build.XXXXXX")
trap 'chmod -R u+w "$room"; rm -rf "$room"' EXIT
trap 'exit 130' INT TERM
cd "$room"

# A private apt: the machine's own sources with deb turned into deb-src; its lists and its configuration stay as they are.
mkdir -p sources lists/partial archives/partial home
for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
  [ -f "$file" ] && sed 's/^Types:.*/Types: deb-src/; s/^deb /deb-src /' "$file" > "sources/$(basename "$file" | sed 's/\.list$/-main.list/')"
done
cat > apt.conf <<CONF
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$room/sources";
Dir::State::Lists "$room/lists";
Dir::Cache "$room";
APT::Sandbox::User "$(id -un)";
CONF
export APT_CONFIG="$room/apt.conf"
apt-get update -qq
apt-get source -qq --download-only kubernetes

tar xzf kubernetes_*.orig.tar.gz
cd kubernetes-*/
tar xJf ../kubernetes_*.debian.tar.xz
while read -r change; do patch -s -p1 < "debian/patches/$change"; done < debian/patches/series

# The build wants to stand in a GOPATH; every module that it needs is in the tree.
version=$(basename "$PWD" | sed 's/^kubernetes-//')
mkdir -p .go/src/k8s.io
ln -s ../../.. .go/src/k8s.io/kubernetes
export GOPATH="$PWD/.go" GOCACHE="$room/cache" HOME="$room/home" GOPROXY=off GOFLAGS= CGO_ENABLED=0
export KUBE_GIT_VERSION="v$version" KUBE_GIT_COMMIT=debian KUBE_GIT_TREE_STATE=archive
export KUBE_GIT_MAJOR="${version%%.*}" KUBE_GIT_MINOR="$(echo "$version" | cut -d. -f2)"
make WHAT=cmd/kube-apiserver GOLDFLAGS='-s -w'
install -m 755 _output/bin/kube-apiserver "$binary.new"
mv "$binary.new" "$binary"
