#!/bin/sh
# Builds kube-apiserver from the source package `kubernetes` of Debian bookworm with Debian's own Go, without network beyond apt.
# Usage: kube_apiserver.sh BINARY   Needs go, make, jq, rsync, patch, xz; about 2 GB next to BINARY during the build, and 4 to 9 minutes.
set -eu
binary=$1
room=$(mktemp -d "$binary.build.XXXXXX")
trap 'chmod -R u+w "$room"; rm -rf "$room"' EXIT
trap 'exit 130' INT TERM
cd "$room"

# A private apt configuration: the sources of this machine, with deb replaced by deb-src. The lists and the configuration of the machine are not changed.
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

# The build requires a GOPATH. All modules that it needs are in the source tree.
version=$(basename "$PWD" | sed 's/^kubernetes-//')
mkdir -p .go/src/k8s.io
ln -s ../../.. .go/src/k8s.io/kubernetes
export GOPATH="$PWD/.go" GOCACHE="$room/cache" HOME="$room/home" GOPROXY=off GOFLAGS= CGO_ENABLED=0
export KUBE_GIT_VERSION="v$version" KUBE_GIT_COMMIT=debian KUBE_GIT_TREE_STATE=archive
export KUBE_GIT_MAJOR="${version%%.*}" KUBE_GIT_MINOR="$(echo "$version" | cut -d. -f2)"

# reflect2 before 1.0.2 calls reflect.mapiterinit as it was before Go 1.18, when it made the iterator itself. Now the caller brings
# one; without it the runtime writes wherever a register points, and the server dies of the maps that json-iterator encodes, such as
# those of an indented or YAML answer; a plain answer is encoded by Go's own library.
reflect2=vendor/github.com/modern-go/reflect2
if [ "$(go env GOVERSION | cut -d. -f2)" -ge 18 ] && grep -q '^func mapiterinit(.*) \*hiter$' $reflect2/unsafe_link.go; then
  sed -i '/^func mapiterinit(/s/) \*hiter$/, it *hiter)/; /^type hiter struct {$/,/^}$/d' $reflect2/unsafe_link.go
  sed -i 's/mapiterinit(/iteration(/' $reflect2/unsafe_map.go
  cat > $reflect2/iteration.go <<'GO'
package reflect2

import "unsafe"

// hiter is laid out as the runtime's own, which fills it in place.
type hiter struct {
	key, value            unsafe.Pointer
	t, h, buckets, bptr   unsafe.Pointer
	overflow, oldoverflow unsafe.Pointer
	startBucket           uintptr
	offset                uint8
	wrapped               bool
	B, i                  uint8
	bucket, checkBucket   uintptr
}

// iteration stands at the first entry of the map m; its key is nil if there is none.
func iteration(rtype, m unsafe.Pointer) *hiter {
	it := new(hiter)
	mapiterinit(rtype, m, it)
	return it
}
GO
fi

make WHAT=cmd/kube-apiserver GOLDFLAGS='-s -w'
install -m 755 _output/bin/kube-apiserver "$binary.new"
mv "$binary.new" "$binary"
