"""Hand commands to a running `anymodal serve` of the same user and store.

It holds the embedded store, which admits one process, and has model and store open already.
"""
