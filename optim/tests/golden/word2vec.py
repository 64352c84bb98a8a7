"""Writes word2vec.txt and word2vec.bin: three vectors in both formats of gensim 4."""

import pathlib

import numpy as np
from gensim.models import KeyedVectors

vectors = KeyedVectors(4)
vectors.add_vectors(
    ["sun", "mond", "été"],
    np.array([[1, 0.5, -0.25, 1 / 3], [-1, 2, 3, 4], [0.1, -2.5e-8, 3e7, 0]], dtype=np.float32),
)
here = pathlib.Path(__file__).parent
vectors.save_word2vec_format(str(here / "word2vec.txt"), binary=False)
vectors.save_word2vec_format(str(here / "word2vec.bin"), binary=True)
