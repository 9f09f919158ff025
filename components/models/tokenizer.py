"""Trains a byte-level BPE tokenizer on a dataset, in the format of transformers."""

from __future__ import annotations

import json
from pathlib import Path

from components.base import BaseDataPoolManipulator
from components.models.texts import read_texts
from sandbox_actors.files import write_whole

END_OF_TEXT = "<|endoftext|>"
"""Separates texts, and is used for padding."""


class TokenizerTraining(BaseDataPoolManipulator):
    """Writes a tokenizer into the folder `export_path` and returns that path.

    dataset_path  jsonl, one file or a list
    vocab_size    the most tokens, with the 256 bytes and the end of text (default 4096)
    text_key      the key of the text (default `text`)

    Pipelines whose models are compared must share a tokenizer, because perplexity is a figure per token.
    """

    env = "transformers"
    is_light = True
    required = ("dataset_path", "export_path")
    reads = ("dataset_path",)

    def run(self) -> str:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        config = self.data_pool_cfg
        texts = read_texts(config["dataset_path"], config.get("text_key", "text"))
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=int(config.get("vocab_size", 4096)),
            special_tokens=[END_OF_TEXT],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer, length=len(texts))
        folder = Path(str(config["export_path"])).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "tokenizer.json", tokenizer.to_str(pretty=True).encode())
        described = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END_OF_TEXT,
            "bos_token": END_OF_TEXT,
            "pad_token": END_OF_TEXT,
            "clean_up_tokenization_spaces": False,
        }
        write_whole(folder / "tokenizer_config.json", json.dumps(described, indent=2).encode() + b"\n")
        print(f"{tokenizer.get_vocab_size()} tokens learned from {len(texts)} texts: {folder}")
        return str(folder)
