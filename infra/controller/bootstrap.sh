#!/usr/bin/env bash
# Make this machine a controller: Debian packages that are missing, and a virtual environment with
# exactly the Python packages of the lock file. Repeats cheaply: nothing is done when all is there.
#   bootstrap.sh run    what `make provision bench teardown` needs
#   bootstrap.sh dev    that, and what `make test check` needs (a browser, redis-tools, linters)
set -euo pipefail
cd "$(dirname "$0")/../.."

kind=${1:-run}
case $kind in
  run) lock=requirements/controller.lock ;;
  dev) lock=requirements/dev.lock ;;
  *) echo "bootstrap.sh: '$kind' is not one of: run dev" >&2; exit 2 ;;
esac

fail() { printf '%s\n  try: %s\n' "$1" "$2" >&2; exit 3; }

# --- Debian packages -------------------------------------------------------------------------
# name of the package -> a file that it brings; a file is looked for, so any way to have it counts
needed=(
  "debootstrap /usr/sbin/debootstrap"          # builds the host image
  "systemd-container /usr/bin/systemd-nspawn"  # runs the local hosts
  "iproute2 /bin/ip"                           # bridge and addresses
  "openssh-client /usr/bin/ssh"                # Ansible reaches the hosts with it
  "git /usr/bin/git"                           # commit and dirty flag in the manifest
)
[ "$kind" = dev ] && needed+=(
  "redis-tools /usr/bin/redis-benchmark"       # the yardstick of make engine-bench
  "nftables /usr/sbin/nft"                     # parts a master from its workers in a test
  "chromium /usr/bin/chromium"                 # opens the page in a test
  "chromium-driver /usr/bin/chromedriver"
)

missing=()
for entry in "${needed[@]}"; do
  read -r package file <<<"$entry"
  [ -e "$file" ] || missing+=("$package")
done
python=${SOAKBED_PYTHON:-python3}
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)

if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null ||
    fail "this machine lacks ${missing[*]}, and has no apt-get" \
         "install them by hand, or use a Debian 12 machine"
  [ "$(id -u)" = 0 ] ||
    fail "this machine lacks ${missing[*]}" "sudo apt-get install ${missing[*]}   (or run as root)"
  echo "installing with apt: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  # a lock held by another apt is waited for; the package lists may be older than the mirror
  { apt-get -o DPkg::Lock::Timeout=300 update -q &&
    apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 ||
    { tail -n 20 "$log" >&2; fail "apt-get could not install ${missing[*]}" "read $log"; }
  rm -f "$log"
fi

# --- Python packages -------------------------------------------------------------------------
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' ||
  fail "$("$python" --version) is not between 3.11 and 3.13" "SOAKBED_PYTHON=/path/to/python3.11 make ..."

stamp() { cat "$lock" pyproject.toml | sha256sum | cut -c1-16; }
have=$(cat .venv/.soakbed-"$kind" 2>/dev/null || true)
# the environment for dev holds everything that run needs
[ "$kind" = run ] && [ -e .venv/.soakbed-dev ] &&
  [ "$(cat .venv/.soakbed-dev)" = "$(cat requirements/dev.lock pyproject.toml | sha256sum | cut -c1-16)" ] && exit 0
[ "$have" = "$(stamp)" ] && exit 0

packages=$(grep -c '==' "$lock" || true)
echo "installing $packages Python packages from $lock into .venv"
exec 9>.venv.lock && flock 9  # two makes at once: the second waits, then finds all done
trap 'rm -f .venv.lock' EXIT
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install -q --disable-pip-version-check --no-input --require-hashes -r "$lock" ||
  fail "pip could not install $lock" "look at the lines above; without network, set PIP_FIND_LINKS to a folder of wheels"
.venv/bin/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
stamp >.venv/.soakbed-"$kind"
