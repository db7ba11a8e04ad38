#!/bin/sh
# The command line of a folder that `make edge` made: libraries and models lie beside it.
here=$(cd -- "$(dirname -- "$0")" && pwd)
export PYTHONPATH="$here/lib" ANYMODAL_HOME="${ANYMODAL_HOME:-$here/models}"
exec "${PYTHON:-python3.11}" -sP -c 'import sys; from workers.cli import main; sys.exit(main())' "$@"
