"""A folder of mixed files in our pipeline and in other products, with the same weights."""
