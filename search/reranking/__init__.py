"""The second stage: a network that reads question and text together orders a page again."""
