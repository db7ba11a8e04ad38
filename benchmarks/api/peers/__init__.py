"""Our API compared with others', whose servers hold the same texts and vectors."""
