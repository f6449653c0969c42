#!/bin/bash
# Build the root file system of a local host: build.sh FOLDER MIRROR
#
# FOLDER appears in one step when it is complete; until then the work lies in FOLDER.part. Whoever
# calls this holds a lock and hands the open lock file on, so a build that outlives its caller
# still counts as running.
set -euo pipefail

folder=$1
mirror=$2
release=bookworm
here=$(cd "$(dirname "$0")" && pwd)
part=$folder.part
root=$part/root
apt=$part/apt
small=$part/mirror
mapfile -t packages < <(grep -v '^#' "$here/packages.txt")

# In a mount namespace of our own, whatever debootstrap mounts goes when we go, however we go.
if [ -z "${SOAKBED_IMAGE_BUILD:-}" ]; then
  SOAKBED_IMAGE_BUILD=1 exec unshare --mount "$0" "$@"
fi
rm -rf --one-file-system "$part"

# debootstrap reads the whole package list of Debian again and again, and fetches one file after
# the other. So apt fetches and verifies first, and debootstrap sees a mirror of just these
# packages: 50 s of processor time instead of 77 s.
echo "I: Fetching packages..."
mkdir -p "$apt"/{lists,archives}/partial "$small/pool" "$small/dists/$release/main/binary-amd64"
: > "$apt/status"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [arch=amd64 signed-by=$keyring] $mirror $release main" > "$apt/sources.list"
cat > "$apt/apt.conf" <<EOF
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Cache "$apt";
Dir::Cache::archives "$apt/archives";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
EOF
export APT_CONFIG=$apt/apt.conf
apt-get -q update
# debootstrap asks for usr-is-merged by name, the rest of its minimum by priority.
wanted=('?priority(required)' '?essential' apt usr-is-merged "${packages[@]}")
apt-get -qq -y --download-only install "${wanted[@]}"
apt-get -qq -s install "${wanted[@]}" | awk '/^Inst/ {print $2}' > "$apt/names"

list=$small/dists/$release/main/binary-amd64/Packages
xargs -a "$apt/names" apt-cache show --no-all-versions | awk '
  /^Package:/ {package = $2}
  /^Version:/ {version = $2; gsub(":", "%3a", version)}
  /^Architecture:/ {arch = $2}
  /^Filename:/ {$2 = "pool/" package "_" version "_" arch ".deb"}
  {print}' > "$list"
mv "$apt"/archives/*.deb "$small/pool/"
cat > "$small/dists/$release/Release" <<EOF
Suite: stable
Codename: $release
Components: main
Architectures: amd64
SHA256:
 $(sha256sum < "$list" | cut -d' ' -f1) $(stat -c %s "$list") main/binary-amd64/Packages
EOF
unset APT_CONFIG

# In memory, because dpkg waits for the disk after every package.
mkdir -p "$root"
mount -t tmpfs -o size=2g,mode=755 tmpfs "$root"

# The files come first, because dpkg reads its settings from them while it unpacks.
cp -r "$here/rootfs/." "$root/"
chmod -R u=rwX,go=rX "$root"

# apt has verified every file against Debian's signature; our own small mirror has none.
debootstrap --no-check-gpg --variant=minbase --include="$(IFS=,; echo "${packages[*]}")" \
  "$release" "$root" "file://$small"

echo "I: Settling the image..."
# Each host gets keys and an identity of its own from the controller.
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/machine-id" "$root/etc/hostname"
: > "$root/etc/machine-id"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*.log "$root/debootstrap"
: > "$root/etc/apt/sources.list"
mkdir -p "$root/data" "$root/var/log/journal"

systemctl --quiet --root="$root" enable systemd-networkd.service ssh.service
# Nothing may wake up in the middle of a measurement, and no container has a terminal.
systemctl --quiet --root="$root" mask \
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
  e2scrub_reap.service systemd-pstore.service systemd-networkd-wait-online.service \
  console-getty.service getty@.service getty.target

cp -a "$root" "$part/complete"
mv -T "$part/complete" "$folder"
umount "$root"
rm -rf "$part"
