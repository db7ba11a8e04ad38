"""How rare each token is, so that rare words are not merged away. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from encoder.errors import InputError


def token_rarity(texts: Iterable[Sequence[int]], vocab_size: int) -> NDArray[np.uint8]:
    """Inverse document frequency (Spärck Jones 1972) of each token, scaled to 0…255.

    Args:
        texts: the token ids of each text.
        vocab_size: how many tokens there are.

    Returns:
        uint8 [vocab_size]: 0 for a token that every text has, 255 for one that none has.

    Raises:
        InputError: no text, or a token id outside the vocabulary.

    >>> token_rarity([[0, 1], [0]], 3).tolist()
    [0, 94, 255]
    """
    frequency = np.zeros(vocab_size)
    n_texts = 0
    for ids in texts:
        unique = np.unique(np.asarray(ids, np.int64))
        if unique.size and not 0 <= unique[0] <= unique[-1] < vocab_size:
            raise InputError(
                f"texts[{n_texts}]", got=f"token id {unique[-1]}", wanted=f"0 to {vocab_size - 1}"
            )
        frequency[unique] += 1
        n_texts += 1
    if not n_texts:
        raise InputError("texts", got="none", wanted="at least one, better thousands")
    idf = np.log((1 + n_texts) / (1 + frequency))
    rarity: NDArray[np.uint8] = np.round(255 * idf / np.log(1 + n_texts)).astype(np.uint8)
    return rarity
