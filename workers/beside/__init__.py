"""Search by a running `anymodal serve` of the same user and store, which has a model open already.

It serves its API at a Unix socket too, to which only its user can connect.
"""
