#!/bin/sh
# The scanners that benchmarks/peers.py measures beside Darban, from Debian's packages. Does nothing where all are there.
# None of them is left running: the benchmark starts instances of its own.
set -eu
missing=""
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
PATH="$PATH:/usr/sbin"
need rspamd rspamd
need spamd spamd
need sa-learn spamassassin
need bogofilter bogofilter
need redis-server redis-server
[ -z "$missing" ] && exit 0
sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo"
echo "installing$missing"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then # a package's service must not start at its installation
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod 755 "$policy"
    trap '$sudo rm -f "$policy"' EXIT
fi
$sudo apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
