#!/usr/bin/env bash
# Installs the libraries and tools that the build needs and that are missing.
# Without the right to install it prints the one command to run and exits 1.
set -eu
case "$(uname -s)" in
Darwin)
    missing=()
    for p in jansson pcre2 libmicrohttpd curl sqlite zstd xxhash libedit cmocka pkg-config; do
        brew list --formula "$p" >/dev/null 2>&1 || missing+=("$p")
    done
    [ ${#missing[@]} -eq 0 ] || brew install "${missing[@]}"
    exit 0
    ;;
esac
if command -v apt-get >/dev/null; then
    want=(gcc make pkg-config clang clang-format libclang-rt-14-dev libjansson-dev libpcre2-dev libmicrohttpd-dev
        libcurl4-openssl-dev libsqlite3-dev libzstd-dev libxxhash-dev libedit-dev libcmocka-dev python3 python3-pip
        python3-numpy unzip)
    have() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }
    command -v pip >/dev/null && want=("${want[@]/python3-pip/}")
    install="apt-get install -y"
    refresh="apt-get update"
elif command -v dnf >/dev/null; then
    want=(gcc make pkgconf-pkg-config clang clang-tools-extra compiler-rt jansson-devel pcre2-devel libmicrohttpd-devel
        libcurl-devel sqlite-devel libzstd-devel xxhash-devel libedit-devel libcmocka-devel python3 python3-pip
        python3-numpy unzip)
    have() { rpm -q "$1" >/dev/null 2>&1; }
    install="dnf install -y"
    refresh="true"
else
    echo "deps: no apt-get, dnf or brew here; install the libraries that README.md lists" >&2
    exit 1
fi
missing=()
for p in "${want[@]}"; do [ -z "$p" ] || have "$p" || missing+=("$p"); done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ]; then sudo=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo=sudo
elif command -v sudo >/dev/null && [ -t 0 ]; then sudo=sudo
else
    echo "deps: run this as root, then try again: $install ${missing[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
$sudo $refresh >/dev/null
$sudo $install "${missing[@]}"
