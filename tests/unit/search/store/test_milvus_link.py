"""The client of Milvus."""

import subprocess
import sys

import pytest

FIRST_SEARCH = """
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
def test_the_first_search_of_a_process_loads_nothing_more() -> None:
    """Several threads would do so at once, each in the others' way."""
    words = [sys.executable, "-c", FIRST_SEARCH]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "True", "True"], done.stderr
