"""Decoders that kinds of files share: charsets, HTML, PDF pages, tables of numbers, the clock."""
