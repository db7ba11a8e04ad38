"""One price of a bit for all layers: files of short codes. Importing this imports torch."""
