"""Makes a chat model of 0.1 million random weights, to test clients of a server: `local_model.py FOLDER [SEED]`.

It reads any text, byte by byte, and writes only grades, `0.0` to `1.0`, until it is stopped. It is not trained, but
each of its answers depends on all of the question. Needs torch and transformers.
"""

from __future__ import annotations

import sys
from pathlib import Path

GRADES = [f"{grade / 10:.1f}" for grade in range(11)]
END, ROLE = "<|end|>", "<|role|>"
CHAT = (
    "{% for message in messages %}<|role|>{{ message['role'] }}\n{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|role|>assistant\n{% endif %}"
)


def main(folder: Path, seed: int) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

    letters = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END, ROLE])
    tokenizer.add_tokens(GRADES)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END, chat_template=CHAT)
    set_seed(seed)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=2048,
        initializer_range=0.3,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[: len(fast) - len(GRADES)] = 0.0  # only the grades are likely
        model.lm_head.weight *= 10.0
        for layer in model.model.layers:
            layer.self_attn.v_proj.weight *= (
                10.0  # so that all of the question has an effect, not only its last letters
            )
    model.save_pretrained(folder)
    fast.save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
