"""Makes a tiny Llama with random weights: its texts mean nothing, its tokens, steps and times are real.

Runs in the engines' virtual environment: `python tiny_model.py FOLDER`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import torch  # type: ignore[import-not-found, unused-ignore]
from tokenizers import (  # type: ignore[import-not-found, unused-ignore]
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)
from transformers import (  # type: ignore[import-not-found, unused-ignore]
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

_BEGIN: Final = "<s>"
_END: Final = "</s>"
_VOCABULARY: Final = 512
_SENTENCES: Final = (
    "A penny saved is a penny earned, and a call that nobody counted is a penny lost.",
    "Summarise the order, translate the answer, and search the shelves for what the customer asked.",
    "The quick brown fox jumps over the lazy dog while the cashier counts to one hundred and twelve.",
    "user: where is my parcel? assistant: it left the depot on Monday and arrives tomorrow.",
)
_CHAT_TEMPLATE: Final = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


def make(folder: Path) -> None:
    """Write the model and its tokenizer into `folder`; the same weights every time."""
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=_VOCABULARY,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,  # so that a head is 64 wide, the least that the CPU attention kernel takes
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def _tokenizer() -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=[_BEGIN, _END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_SENTENCES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=_BEGIN, eos_token=_END, chat_template=_CHAT_TEMPLATE
    )


if __name__ == "__main__":
    make(Path(sys.argv[1]))
