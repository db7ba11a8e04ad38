#!/bin/sh
# Saves and restores what the stack holds: ./backup.sh save FOLDER, ./backup.sh restore FOLDER
#
# The stack is stopped meanwhile: what Milvus, Redis and the uploads hold then fits together.
# Prometheus' figures and Grafana's settings are not saved; the passwords are in ./secrets.
#
# What was there changes only once all that is new is there and checked, and the stack starts again
# whatever happens: a full disk or a wrong file costs nothing.
set -eu
cd "$(dirname "$0")"
if [ -f .env ]; then . ./.env; fi

docker=${DOCKER:-docker}
compose=${COMPOSE:-docker compose}
image=${ANYMODAL_IMAGE:-anymodal:0.1.0-cpu}
volumes="api milvus redis uploads"
sums=SHA256SUMS

usage() { echo "usage: $0 save|restore FOLDER" >&2; exit 2; }
fail() { echo "$1" >&2; exit 1; }

# in_volume NAME FOLDER COMMAND: runs it as root, with the volume at /volume and the folder at /backup.
in_volume() {
    $docker run --rm --network none --user 0 --entrypoint sh --volume "anymodal_$1:/volume" \
        --volume "$2:/backup" "$image" -euc "$3"
}

save() {
    mkdir -p "$1"
    folder=$(cd "$1" && pwd)
    new=$folder/.unfinished
    rm -rf "$new"
    mkdir "$new"
    trap 'rm -rf "$new"; $compose start' EXIT
    $compose stop
    for name in $volumes; do
        in_volume "$name" "$new" "tar -C /volume --exclude=./.restoring -cf /backup/$name.tar ." ||
            fail "$name was not saved. What $folder held is as it was."
    done
    (cd "$new" && sha256sum ./*.tar >$sums)
    mv -f "$new"/*.tar "$new/$sums" "$folder"
}

# What goes wrong on the way back is undone in the volumes that were exchanged before.
move='move() { find "$1" -mindepth 1 -maxdepth 1 ! -name .restoring -exec mv -t "$2" {} +; }
cd /volume
'
unpack='mkdir -p /volume/.restoring/new /volume/.restoring/former
tar -C /volume/.restoring/new -xf'
exchange="$move"'move . .restoring/former; touch .restoring/emptied; move .restoring/new .'
undo="$move"'[ -e .restoring ] || exit 0
[ ! -e .restoring/emptied ] || move . .restoring/new
move .restoring/former .
rm -rf .restoring'
finish='chown --reference=/volume/.restoring/new /volume
chmod --reference=/volume/.restoring/new /volume
rm -rf /volume/.restoring'

everywhere() { for name in $volumes; do in_volume "$name" "$folder" "$1"; done; }

restore() {
    folder=$(cd "$1" && pwd) || fail "$1 holds no backup"
    for name in $volumes; do
        [ -f "$folder/$name.tar" ] || fail "$folder/$name.tar is missing"
    done
    (cd "$folder" && sha256sum --check --quiet $sums) ||
        fail "$folder is not what was saved. Nothing was changed."
    trap '$compose start' EXIT
    $compose create
    $compose stop
    everywhere "$undo" # what one left that was killed
    trap 'everywhere "$undo" || true; $compose start' EXIT
    for name in $volumes; do
        in_volume "$name" "$folder" "$unpack /backup/$name.tar" ||
            fail "$folder/$name.tar was not unpacked. Nothing was changed."
    done
    everywhere "$exchange"
    trap '$compose start' EXIT
    everywhere "$finish"
}

[ $# -eq 2 ] || usage
trap 'exit 1' HUP INT TERM
case $1 in
save) save "$2" ;;
restore) restore "$2" ;;
*) usage ;;
esac
