"""Files of word vectors between gensim 4 and Cairn, in both directions.

`python word2vec.py` writes word2vec.txt and word2vec.bin: three vectors in both formats, as gensim writes them.
`python word2vec.py check` reads word2vec_cairn.txt and word2vec_cairn.bin, the same vectors as Cairn writes them, with gensim.
`python word2vec.py check FOLDER` does so with any word2vec_cairn.txt and .bin and compares the two with each other.
"""

import pathlib
import sys

import numpy as np
from gensim.models import KeyedVectors

WORDS = ["sun", "mond", "été"]
VALUES = np.array([[1, 0.5, -0.25, 1 / 3], [-1, 2, 3, 4], [0.1, -2.5e-8, 3e7, 0]], dtype=np.float32)
here = pathlib.Path(__file__).parent


def write():
    vectors = KeyedVectors(4)
    vectors.add_vectors(WORDS, VALUES)
    vectors.save_word2vec_format(str(here / "word2vec.txt"), binary=False)
    vectors.save_word2vec_format(str(here / "word2vec.bin"), binary=True)


def check(folder):
    text = KeyedVectors.load_word2vec_format(str(folder / "word2vec_cairn.txt"), binary=False)
    binary = KeyedVectors.load_word2vec_format(str(folder / "word2vec_cairn.bin"), binary=True)
    assert text.index_to_key == binary.index_to_key
    assert np.array_equal(text.vectors, binary.vectors)
    if folder == here:
        assert text.index_to_key == WORDS
        assert np.array_equal(text.vectors, VALUES)
    word = text.index_to_key[0]
    print(f"{len(text)} vectors of {text.vector_size}; near {word}: {text.most_similar(word, topn=2)}")


if sys.argv[1:2] == ["check"]:
    check(pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else here)
else:
    write()
