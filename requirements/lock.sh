#!/bin/sh
# Writes the hashed lock files from pyproject.toml. Usage: requirements/lock.sh .venv/bin
set -eu
bin=$1
here=$(dirname "$0")
compile() {
    "$bin/pip-compile" --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links --no-header "$@"
}
printf 'hatchling>=1.27,<2\neditables\n' | compile --no-annotate -o "$here/build.txt" -
compile --extra redis --extra postgresql -o "$here/run.txt" pyproject.toml  # what a configuration may name
compile --extra dev -c "$here/run.txt" -o "$here/dev.txt" pyproject.toml
# the project itself is named by its own extras; it has no hash and is installed from the checkout
"$bin/python" - "$here/dev.txt" <<'PY'
import pathlib, re, sys
path = pathlib.Path(sys.argv[1])
blocks = re.split(r"\n(?=\S)", path.read_text())
path.write_text("\n".join(b for b in blocks if not re.match(r"darban|# (WARNING|The following|Consider)", b)).rstrip() + "\n")
PY
