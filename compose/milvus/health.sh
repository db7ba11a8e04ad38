#!/bin/sh
# Whether Milvus is well: health.sh URL PROGRAM FOLDER
#
# Docker starts again what has ended, not what is unhealthy. A Milvus that was well and has failed
# five checks in a row is ended here; one that has not been well yet gets thirty, for it may be
# reading its log again. FOLDER is empty when the container starts.
set -u
url=$1 program=$2 folder=$3

if curl --fail --silent --max-time 8 --output /dev/null "$url"; then
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
