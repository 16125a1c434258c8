#!/bin/sh
# install.sh TARGET REQUIREMENT…   a virtual environment at TARGET, from the wheels in this folder alone
# install.sh --link                users, folders and units of the version in use
set -eu
if [ "$1" = --link ]; then
    current=/opt/aviary/current
    systemd-sysusers $current/lib/sysusers.d/*.conf
    systemd-tmpfiles --create $current/lib/tmpfiles.d/*.conf
    mkdir -p /etc/systemd/system /etc/tmpfiles.d
    ln -sf $current/lib/systemd/system/* /etc/systemd/system/
    # For the next boot, after which /run is empty.
    ln -sf $current/lib/tmpfiles.d/*.conf /etc/tmpfiles.d/
    exec systemctl daemon-reload
fi
target=$1
shift
/usr/bin/python3 -m venv --without-pip "$target"
/usr/bin/python3 "$(echo pip-*.whl)/pip" --python "$target/bin/python" --disable-pip-version-check --quiet \
    install --no-index --find-links . --no-compile "$@"
cp install.sh "$target/"
