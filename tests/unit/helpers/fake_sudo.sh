#!/bin/sh
# Stands in for sudo in tests with fake hosts: the same, and FAKE_USER says as whom. See fake_host.py.
while [ "$1" != -u ]; do shift; done
export FAKE_USER="$2"
shift 2
exec "$@"
