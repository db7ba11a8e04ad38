"""Programs that write to a store in a folder until they are killed."""

KILLED = """
import os, signal, sys
from search.store.embedded import side, writing
from search.store.milvus.rows import MilvusRows
from search.store.milvus.store import MilvusStore
from search.store.open import open_store
from tests.contract.rows import DIM, SPACE, corpus
store = open_store(sys.argv[1], SPACE, DIM)
at = {"before the record": (MilvusStore, "write"), "before the index": (side.Side, "put"),
      "before the files": (MilvusRows, "flush"), "in the index": (writing, "_put_assets"),
      "before the deletion": (MilvusStore, "delete"),
      "before it is forgotten": (side.Side, "remove"), "before the commit": (side.Side, "_level")}
owner, name = at[sys.argv[2]]
setattr(owner, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
assets, segments = corpus(6, seed=1)
store.write(assets, segments)
store.delete(["asset0-1"])
"""

WRITER = """
import os, random, sys
from search.store.embedded import side
from search.store.embedded import texts as kept
from search.store.embedded import vector_files as files
from search.store.open import open_store
from tests.contract.rows import DIM, SPACE, corpus
store = open_store(sys.argv[1], SPACE, DIM)
# So that it is killed while it reads names, too, or writes codes.
side.AT_ONCE = kept.AT_ONCE = 8
files.CHUNK = 32
begin = random.Random(int(sys.argv[2]))
for number in range(1000):
    seed = begin.randrange(100, 140)
    assets, segments = corpus(3, seed)
    if begin.random() < 0.3:
        store.delete([assets[0].asset_id])
    else:
        store.write([], segments[:5])
        store.write(assets, segments)
        os.write(1, f"{seed}\\n".encode())
"""
