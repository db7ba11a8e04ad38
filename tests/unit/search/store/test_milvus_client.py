"""The client of Milvus: what it loads by itself, and what it knows once others have loaded it."""

import subprocess
import sys

import pytest

WITHOUT_PANDAS = """
import sys

from search.store.milvus.link import load_client

load_client()
from pymilvus.client.entity_helper import entity_is_sparse_matrix
from pymilvus.orm import schema, types

print(entity_is_sparse_matrix([[0.5]]), schema.is_valid_insert_data([]), "pandas" in sys.modules)
print(isinstance((1,), schema.pd.DataFrame), types.is_list_like([1]), types.is_scalar([1]))

import pandas

print(schema.is_valid_insert_data(pandas.DataFrame({"id": [1]})), schema.pd.NA is pandas.NA)
"""
# Several threads would load it at once at a first search, each in the others' way.
WITHOUT_SCIPY = """
from importlib.machinery import SourceFileLoader
from search.store.milvus.link import load_client

load_client()
from pymilvus.client.entity_helper import entity_is_sparse_matrix

load = SourceFileLoader.exec_module
SourceFileLoader.exec_module = lambda _, module: print("loads", module.__name__)
print(entity_is_sparse_matrix([[0.5, 0.5]]))

SourceFileLoader.exec_module = load
from scipy import sparse

print(entity_is_sparse_matrix(sparse.csr_matrix([[0.5, 0.5]])))
print(entity_is_sparse_matrix(sparse.csr_array([[0.5, 0.5]])))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        (WITHOUT_PANDAS, "False True False False True False True True"),
        (WITHOUT_SCIPY, "False True True"),
    ],
    ids=["pandas", "scipy"],
)
def test_the_client_loads_neither_but_knows_both(script: str, wanted: str) -> None:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == wanted.split(), done.stderr
