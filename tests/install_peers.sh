#!/bin/sh
# The real servers and the browser that the end-to-end tests use, from Debian's packages. Does nothing where all are there.
set -eu
missing=""
need() { command -v "$1" >/dev/null 2>&1 || [ -x "$1" ] || missing="$missing $2"; }
need /usr/sbin/postfix postfix
need /usr/sbin/dovecot dovecot-core
[ -x /usr/lib/dovecot/lmtp ] || missing="$missing dovecot-lmtpd"
[ -x /usr/lib/dovecot/imap ] || missing="$missing dovecot-imapd"
[ -e /usr/lib/dovecot/libdovecot-sieve.so ] || missing="$missing dovecot-sieve"
need swaks swaks
need /usr/sbin/slapd slapd
need /usr/sbin/mkfs.ext4 e2fsprogs
need /usr/sbin/haproxy haproxy
need redis-server redis-server
need /usr/sbin/clamd clamav-daemon
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
need prometheus prometheus
need spamc spamc
need rspamc rspamd
need chromium chromium
[ -e /usr/share/spamassassin/72_active.cf ] || missing="$missing spamassassin"
[ -d /usr/share/fonts/truetype/noto ] || missing="$missing fonts-noto-core"
# Exim is unpacked beside Postfix, which Debian would take away for it
exim=/opt/darban-peers/exim
needs_exim=""
[ -x /usr/sbin/exim4 ] || [ -x "$exim/usr/sbin/exim4" ] || needs_exim=yes
haraka=/opt/darban-peers/haraka
needs_haraka=""
[ -x "$haraka/node_modules/.bin/haraka" ] || needs_haraka=yes
[ -z "$missing$needs_exim$needs_haraka" ] && exit 0
sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo"
if [ -n "$needs_exim" ]; then
    echo "unpacking exim4-daemon-heavy"
    $sudo apt-get update -qq
    packages=$(mktemp -d)
    (cd "$packages" && apt-get download -qq exim4-daemon-heavy 2>/dev/null)
    $sudo mkdir -p "$exim"
    $sudo dpkg-deb -x "$packages"/exim4-daemon-heavy_*.deb "$exim"
    libraries=$(dpkg-deb -f "$packages"/exim4-daemon-heavy_*.deb Depends | tr ',' '\n' | sed -n 's/^ *\(lib[^ |]*\).*/\1/p')
    rm -r "$packages"
    missing="$missing $(echo $libraries)"
    id Debian-exim >/dev/null 2>&1 || $sudo useradd --system --no-create-home --shell /usr/sbin/nologin Debian-exim
fi
if [ -n "$needs_haraka" ]; then
    command -v npm >/dev/null 2>&1 || missing="$missing npm"
fi
if [ -n "$missing" ]; then
    echo "installing$missing"
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
if [ -n "$needs_haraka" ]; then
    echo "installing Haraka"
    $sudo mkdir -p "$haraka"
    $sudo npm install --prefix "$haraka" --no-audit --no-fund --omit=optional --loglevel=error \
        Haraka@3.3.4 haraka-plugin-rspamd@1.6.1 >/dev/null
fi
