"""A store in a folder: one database and files of vectors; see `folder.store`."""
