"""What office programs write: slides, cells, and files in mails."""
