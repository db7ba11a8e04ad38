#!/bin/sh
# Whether a service lives: health.sh PROGRAM FOLDER COMMAND..., which fails if it does not.
#
# Docker starts again what has ended, not what is unhealthy. A program that was well and has failed
# five checks in a row is ended here; one that has not been well yet gets thirty, for it may be
# reading its log again. FOLDER is empty when the container starts. COMMAND must end in time.
set -u
program=$1 folder=$2
shift 2

if "$@" >/dev/null; then
  rm -f "$folder/failures"
  : >"$folder/was-well"
  exit 0
fi

echo >>"$folder/failures"
most=30
[ -e "$folder/was-well" ] && most=5
[ "$(wc -l <"$folder/failures")" -lt "$most" ] && exit 1
echo "$program failed $most checks in a row and is ended"
# By -KILL: one that hangs does not hear anything else.
for process in /proc/[0-9]*; do
  [ "$(cat "$process/comm" 2>/dev/null)" = "$program" ] && kill -KILL "${process#/proc/}"
done
exit 1
