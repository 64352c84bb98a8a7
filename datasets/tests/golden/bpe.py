"""Makes bpe.json and bpe.txt: a small byte-pair encoding of the `tokenizers` library in Python, and the numbers that it
gives some texts. Run once with tokenizers 0.23 in this folder: `python bpe.py`.
"""
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TEXTS = ["she sells sea shells by the sea shore", "the shells she sells are sea shells for sure", "how much wood would a"
         " woodchuck chuck if a woodchuck could chuck wood", "peter piper picked a peck of pickled peppers"]
ASKED = ["the woodchuck sells pickled shells", "She's 12 naïve ☃s,  isn't she?", "  ", "<pad> by the shore", "é"]

tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(
    vocab_size=300, min_frequency=2, show_progress=False, special_tokens=["[PAD]", "[UNK]"],
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
tokenizer.save("bpe.json", pretty=False)
with open("bpe.txt", "w", encoding="utf-8") as file:
    for text in ASKED:
        file.write(text + "\t" + " ".join(str(i) for i in tokenizer.encode(text).ids) + "\n")
