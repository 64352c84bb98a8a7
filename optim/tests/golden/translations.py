"""Makes translations.json: invented translations and references full of what tokenisers stumble over, and what sacreBLEU 2 says
of them. Run once: `python translations.py > translations.json`.
"""
import json
import random

import sacrebleu
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

random.seed(7)
WORDS = ["Ein", "Hund", "läuft", "durch", "den", "Schnee", "über", "zwei", "Männer", "in", "roten", "Jacken", "U-Bahn",
         "3,5", "10.000", "Nr.", "2-mal", "„ja“", "don't", "a.b", "...", "..", "1.", ".5", ",", "-", "–", "&amp;", "&quot;so&quot;",
         "x<y", "10%", "$5", "(hier)", "[da]", "a/b", "ende.", "was?", "nein!", "e-mail@x.de", "<skipped>", "π≈3,14", "日本", "5-6-7",
         "a.,b", "1.,2", "\u00a0hart", "x\u2028y", "x\x1fy", "~", "^_^", "`", "'", "don’t", "&lt;b&gt;"]


def sentence():
    return " ".join(random.choices(WORDS, k=random.randint(1, 18)))


def disturbed(text):
    words = text.split(" ")
    for _ in range(random.randint(0, 4)):
        i = random.randrange(len(words))
        random.choice([lambda: words.__setitem__(i, random.choice(WORDS)), lambda: words.insert(i, random.choice(WORDS)),
                       lambda: len(words) > 1 and words.pop(i)])()
        i = 0
    return random.choice(["", " ", ""]).join(["", " ".join(words), ""])


def scores(translations, references):
    bleu = sacrebleu.corpus_bleu(translations, references)
    chrf = sacrebleu.corpus_chrf(translations, references)
    return {"translations": translations, "references": list(map(list, zip(*references))), "bleu": bleu.score,
            "precisions": bleu.precisions, "penalty": bleu.bp, "lengths": [bleu.sys_len, bleu.ref_len], "chrf": chrf.score}


first = [sentence() for _ in range(60)]
second = [disturbed(text) for text in first]
third = [disturbed(text) for text in first]
cases = {
    "one_reference": scores(second, [first]),
    "two_references": scores(third, [first, second]),
    "short": scores(["the cat", "a dog"], [["the cat", "a frog"]]),
    "no_match_of_an_order": scores(["a b c d e", "v w x y z"], [["a b x d e", "v w q y z"]]),
    "no_match": scores(["a b", "c"], [["d e", "f g"]]),
    "too_short": scores(["a b c d e"], [["a b c d e f g h i"]]),
    "empty": scores(["", "a b c d"], [["a b c d", "a b c d"]]),
    "case": scores(["Der Hund Schläft Hier Nicht"], [["der Hund schläft hier nicht"]]),
}
tokens = [[text, Tokenizer13a()(text.rstrip())] for text in first + second]
print(json.dumps({"cases": cases, "tokens": tokens}, ensure_ascii=False, indent=1))
