"""What commands share: options, tables, progress, printable text."""
