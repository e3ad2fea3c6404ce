#!/bin/sh
# Installs the servers and the browser that the tests use (libatomic1 is for what drives it), where Debian's packages are missing.
set -eu
wanted="dovecot-core dovecot-imapd dovecot-pop3d dovecot-lmtpd dovecot-submissiond postgresql chromium-headless-shell libatomic1"

if ! command -v dpkg-query >/dev/null; then
    echo "These tests know Debian's packages only. Have here what they bring: $wanted" >&2
    exit 0
fi
missing=""
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null; then
    as_root="sudo"
else
    echo "The tests need these packages; install them as root: apt-get install$missing" >&2
    exit 1
fi
echo "Installing$missing"
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing
