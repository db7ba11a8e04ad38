"""What kinds of files are read with: charsets, HTML, PDF pages, tables of numbers, the clock."""
