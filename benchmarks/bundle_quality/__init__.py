"""The bundles on data that nobody here made: one file for each subject."""
