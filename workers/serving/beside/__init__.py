"""Commands beside a running `anymodal serve` of the same user and store: it does their work.

It holds the embedded store, which admits one process, and has model and store open already.
"""
