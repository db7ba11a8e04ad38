"""A folder of mixed files through our pipeline and through others', with the same weights."""
