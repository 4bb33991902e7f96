#!/bin/sh
# Serves, with the flags given. A server that not only this machine can reach wants a key first: the
# first start makes one and leaves it in the data folder, for its owner to read.
set -eu
key=${PROTEGE_DATA:?}/admin-key
if [ ! -s "$key" ]; then
	umask 077
	protege keys create --name admin --admin >"$key.new"
	mv "$key.new" "$key"
fi
exec protege serve "$@"
