#!/bin/sh
# Put in place what the containers read as secrets; what is there stays. Nothing of it is in the repository.
set -eu
cd "$(dirname "$0")/.."

# Containers run as other users than you, so the files are readable; the folder keeps everybody else on this machine out.
mkdir -p secrets
chmod 700 secrets
umask 022

if [ ! -s secrets/grafana_admin_password ]; then
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >secrets/grafana_admin_password
    echo "Grafana: user admin, the password is in secrets/grafana_admin_password."
fi
if [ ! -s secrets/alert_webhook_url ]; then
    echo "http://alert-receiver.invalid/" >secrets/alert_webhook_url
    echo "Alerts go nowhere yet: write your receiver's address into secrets/alert_webhook_url."
fi
