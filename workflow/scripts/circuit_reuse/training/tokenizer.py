"""A byte-level BPE tokenizer in which every word of the tasks is one token."""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"


def train(vocabulary, years):
    """Learn merges until every word is one token.

    vocabulary: words with their leading space where they have one
    years:      two-digit years, merged last, so that " 1732" becomes " 17" and "32"
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=20_000,
        min_frequency=1,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Frequent words are merged first: twenty copies of a word go before one of a year.
    tokenizer.train_from_iterator([*(vocabulary * 20), *years], trainer)
    return tokenizer


def save(tokenizer, folder):
    """Write tokenizer.json and tokenizer_config.json as transformers reads them."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END,
        # Half of the training lines begin with it, and every prompt of a task does.
        "add_bos_token": True,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
        "model_max_length": 64,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
