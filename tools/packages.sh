#!/usr/bin/env bash
# Installs what is missing of a part of system-packages.txt: tools/packages.sh run|test
set -euo pipefail
cd "$(dirname "$0")/.."

part=$1
mapfile -t wanted < <(awk -v part="# $part:" '
    /^#/ { on = index($0, part) == 1 }
    on && NF == 1 && !/^#/' system-packages.txt)
if [ ${#wanted[@]} -eq 0 ]; then
    echo "system-packages.txt has no part '$part': allowed are run and test" >&2
    exit 2
fi

if ! command -v dpkg-query >/dev/null; then
    echo "not a Debian machine: these packages are taken to be here by other means: ${wanted[*]}" >&2
    exit 0
fi

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null |
    sed -n 's/^installed //p' || true)
mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}" | sort -u) <(sort -u <<<"$installed"))
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "these Debian packages are missing and neither root nor sudo is here to install them: ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

# The daemons among them are for the tests, which start their own: no service starts with the package.
# invoke-rc.d asks policy-rc.d, and 101 forbids. What stood there before stands there again afterwards.
policy=/usr/sbin/policy-rc.d
kept=$policy.before-sipfarm
restore() {
    "${as_root[@]}" rm -f "$policy"
    if [ -e "$kept" ]; then
        "${as_root[@]}" mv "$kept" "$policy"
    fi
}
if [ -e "$policy" ] && [ ! -e "$kept" ]; then
    "${as_root[@]}" mv "$policy" "$kept"
fi
trap restore EXIT
trap 'exit 130' INT TERM
printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
"${as_root[@]}" chmod 755 "$policy"

echo "installing Debian packages: ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q)
"${apt[@]}" update || echo "apt-get update failed; going on with the package lists that are here" >&2
"${apt[@]}" install --yes --no-install-recommends "${missing[@]}"
