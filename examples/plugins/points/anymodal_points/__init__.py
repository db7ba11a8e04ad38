"""Point clouds for anymodal: a kind of file and a tower."""
