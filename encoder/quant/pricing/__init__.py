"""One price per bit for all layers: files of short codes. Importing this imports torch."""
