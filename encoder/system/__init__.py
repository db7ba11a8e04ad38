"""What the machine gives: processes, disks, private files, packages of extras."""
