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
need /usr/sbin/mkfs.ext4 e2fsprogs
need redis-server redis-server
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
need prometheus prometheus
need chromium chromium
[ -e /usr/share/spamassassin/72_active.cf ] || missing="$missing spamassassin"
[ -d /usr/share/fonts/truetype/noto ] || missing="$missing fonts-noto-core"
[ -z "$missing" ] && exit 0
sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo"
echo "installing$missing"
$sudo apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
