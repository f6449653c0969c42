#!/bin/bash
# Build the root file system of a local host: build.sh FOLDER MIRROR
#
# FOLDER appears in one step when it is complete; until then the work lies in FOLDER.part. Whoever
# calls this holds a lock and hands the open lock file on, so a build that outlives its caller
# still counts as running.
set -euo pipefail

folder=$1
mirror=$2
part=$folder.part
here=$(cd "$(dirname "$0")" && pwd)
packages=$(grep -v '^#' "$here/packages.txt" | paste -sd,)

# In a mount namespace of our own, whatever debootstrap mounts goes when we go, however we go.
if [ -z "${SOAKBED_IMAGE_BUILD:-}" ]; then
  SOAKBED_IMAGE_BUILD=1 exec unshare --mount "$0" "$@"
fi

rm -rf --one-file-system "$part"
# The files come first, because dpkg reads its settings from them while it unpacks.
mkdir -p "$part"
cp -r "$here/rootfs/." "$part/"
chmod -R u=rwX,go=rX "$part"

debootstrap --variant=minbase --include="$packages" bookworm "$part" "$mirror"

echo "I: Settling the image..."
# Each host gets keys and an identity of its own from the controller.
rm -f "$part"/etc/ssh/ssh_host_* "$part/etc/machine-id" "$part/etc/hostname"
: > "$part/etc/machine-id"
rm -rf "$part"/var/cache/apt/*.bin "$part"/var/cache/apt/archives/*.deb \
  "$part"/var/lib/apt/lists/* "$part"/var/log/*.log
mkdir -p "$part/data" "$part/var/log/journal"

systemctl --quiet --root="$part" enable systemd-networkd.service ssh.service
# Nothing may wake up in the middle of a measurement, and no container has a terminal.
systemctl --quiet --root="$part" mask \
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
  e2scrub_reap.service systemd-pstore.service systemd-networkd-wait-online.service \
  console-getty.service getty@.service getty.target

mv -T "$part" "$folder"
