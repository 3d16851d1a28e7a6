#!/bin/sh
# Fetch an aarch64 Python into build/aarch64-python: headers to build runtime._native with, and all
# it takes to run that module under qemu-aarch64 (interpreter, C library, NumPy, OpenCV).
#
# The packages are of this machine's own Debian release. They are unpacked, not installed: nothing
# here changes the system, and no root is needed.
set -eu
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3}"
root="$PWD/build/aarch64-python"
complete="$root/.complete"
[ -e "$complete" ] && exit 0

give_up() {
  echo "$1. Without an aarch64 Python: build edge_runner alone (--runner-only), or give the" \
    "headers of one (-DPython_INCLUDE_DIR=<folder>/include/python3.x)." >&2
  exit 1
}

for tool in apt-get dpkg-deb; do
  command -v "$tool" >/dev/null || give_up "$tool is missing"
done
rm -rf "$root"
state="$root/.apt"
mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
: > "$state/status"
apt() {
  apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Debug::NoLocking=1 \
    -o Dir::State::Lists="$state/lists" -o Dir::State::status="$state/status" \
    -o Dir::Cache="$state/cache" -o APT::Sandbox::User="$(id -un)" "$@"
}
unpack() {
  for package in "$1"/*.deb; do
    dpkg-deb --extract "$package" "$root"
  done
}
# Ubuntu keeps arm64 on other servers than x86-64, so there this is what fails.
apt update || give_up "this system's package sources have no arm64"
apt install --yes --download-only --no-install-recommends \
  python3-minimal libpython3-stdlib libstdc++6 >/dev/null ||
  give_up "apt-get could not fetch Python for arm64"
unpack "$state/cache/archives"
version="$(basename "$(readlink "$root/usr/bin/python3")")"
# The headers without what they depend on, a whole C development environment.
(cd "$state" && apt download "lib$version-dev") || give_up "apt-get could not fetch lib$version-dev"
unpack "$state"
# Releases of before the merged /usr keep the loader in /lib, later ones in /usr/lib.
[ -e "$root/lib" ] || ln -s usr/lib "$root/lib"
rm -rf "$state"
"$PYTHON" -m pip install --quiet --disable-pip-version-check --target "$root/packages" \
  --platform manylinux_2_28_aarch64 --python-version "${version#python}" --only-binary :all: \
  numpy opencv-python-headless
touch "$complete"
echo "fetched: $version for aarch64 in build/aarch64-python ($(du -sh "$root" | cut -f1))"
