"""How a store's times grow with its size: filters, pages, words, lists and deletes."""
