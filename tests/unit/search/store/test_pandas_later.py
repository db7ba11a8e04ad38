"""Milvus's client without pandas."""

import subprocess
import sys

import pytest

CLIENT = """
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


@pytest.mark.slow
def test_the_client_loads_no_pandas_and_knows_data_frames() -> None:
    words = [sys.executable, "-c", CLIENT]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout.split() == "False True False False True False True True".split(), done.stderr
