"""A store as Parquet files, and back."""
