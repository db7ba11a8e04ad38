"""Batch what several requests want at the same time.

Each request has a thread. The first that calls a `Batched` function runs it at once, alone. Those
that call it meanwhile wait, and become one call when it returns::

    request A ──► QueryEncoder ──► Batched ── encode(a) ────► answer A
    request B ──► (cache miss)        ├─ waits ─┐
    request C ──►                     └─ waits ─┴ encode(b, c) ─► answers B and C

The busier the server, the larger the batches; a lone request never waits. `QueryEncoder` batches
what its cache does not hold, the store its searches.
"""
