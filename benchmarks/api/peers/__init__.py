"""Our API beside others': their servers over the same texts and vectors."""
