"""Our encoder beside other libraries, with the same weights."""
