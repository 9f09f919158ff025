"""A tokenizer of one's own: byte-level BPE trained on a dataset, in the form that transformers loads."""

from __future__ import annotations

import json
from pathlib import Path

from components.base import BaseDataPoolManipulator
from components.models.texts import read_texts

END_OF_TEXT = "<|endoftext|>"
"""Stands between two texts, and for padding."""


class TokenizerTraining(BaseDataPoolManipulator):
    """Writes a tokenizer into the folder `export_path` and returns that path.

    dataset_path  jsonl, one file or a list
    vocab_size    at most so many tokens, the 256 bytes and the end of text among them (default 4096)
    text_key      where the text of a sample is (default `text`)

    Pipelines whose models are compared have to share one: perplexity is a figure a token.
    """

    env, is_light = "transformers", True
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
        tokenizer.save(str(folder / "tokenizer.json"))
        described = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END_OF_TEXT,
            "bos_token": END_OF_TEXT,
            "pad_token": END_OF_TEXT,
            "clean_up_tokenization_spaces": False,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        print(f"{tokenizer.get_vocab_size()} tokens learnt from {len(texts)} texts: {folder}")
        return str(folder)
