#!/bin/sh
# Makes the passwords, once; what is there already stays.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets media
chmod 700 secrets

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# The folder is closed to others; the files are not, since the containers' users have to read them.
keep() { [ -s "secrets/$1" ] || printf '%s\n' "$2" >"secrets/$1"; }

keep redis_auth "requirepass $(random)"
keep anymodal_broker "redis://:$(cut -d' ' -f2 secrets/redis_auth)@redis:6379/0"
keep grafana_password "$(random)"
keep anymodal_store_login "root:$(random)"
# Milvus reads it beside its other settings; the password counts when its volume is made.
keep milvus_user "common: {security: {authorizationEnabled: true, defaultRootPassword: \"$(cut -d: -f2 secrets/anymodal_store_login)\"}}"
chmod 444 secrets/*
