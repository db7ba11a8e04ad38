"""What the machine provides: processes, disks, private files, packages of extras."""
