#!/bin/sh
# Saves and restores what the stack holds: ./backup.sh save FOLDER, ./backup.sh restore FOLDER
#
# The stack is stopped meanwhile: what Milvus, Redis and the uploads hold then fits together.
# Prometheus' figures and Grafana's settings are not saved; the passwords are in ./secrets.
set -eu
cd "$(dirname "$0")"
if [ -f .env ]; then . ./.env; fi

docker=${DOCKER:-docker}
compose=${COMPOSE:-docker compose}
image=${ANYMODAL_IMAGE:-anymodal:0.1.0-cpu}
volumes="api milvus redis uploads"

usage() { echo "usage: $0 save|restore FOLDER" >&2; exit 2; }

# in_volume NAME COMMAND: runs it as root, with the volume at /volume and the folder at /backup.
in_volume() {
    $docker run --rm --network none --user 0 --entrypoint sh --volume "anymodal_$1:/volume" \
        --volume "$folder:/backup" "$image" -c "$2"
}

[ $# -eq 2 ] || usage
case $1 in
save)
    mkdir -p "$2"
    folder=$(cd "$2" && pwd)
    $compose stop
    for name in $volumes; do in_volume "$name" "tar -C /volume -cf /backup/$name.tar ."; done
    $compose start
    ;;
restore)
    folder=$(cd "$2" && pwd)
    for name in $volumes; do
        [ -f "$folder/$name.tar" ] || { echo "$folder/$name.tar is missing" >&2; exit 1; }
    done
    $compose stop
    $compose create
    for name in $volumes; do
        in_volume "$name" "find /volume -mindepth 1 -delete && tar -C /volume -xf /backup/$name.tar"
    done
    $compose start
    ;;
*) usage ;;
esac
