"""From files to rows: decode, encode, write, commit, remove."""
