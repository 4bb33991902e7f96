"""A language model for tests: a tiny Llama that has been taught one task in a few seconds."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from distill.students.text import language

BEGIN, END = "<s>", "</s>"

PAIR = "zz"

DIGITS = 4

EIGHT_BITS = 0.4
"""Integers of 8 bits are not the same as the weights that they stand for: that much of a logarithm
they may be off, the most on processors without VNNI, which add them up in 16 bits."""

_STEPS = 100
_BATCH = 64


def pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Different texts, and answers as many: the number in each."""
    rng = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        word = "".join(rng.choices("abcdefgh", k=3))
        number = f"{rng.randrange(10**DIGITS):0{DIGITS}}"
        found[f"{word} {number}"] = number
    return list(found.items())


def make(folder: Path) -> Path:
    """Write the model to ``folder`` in Hugging Face layout. Its tokens are single bytes, and one
    pair: without any, some runtimes take its tokenizer for none."""
    torch.manual_seed(0)
    # Several threads would wait for each other more than they computed.
    torch.set_num_threads(1)
    # No text has the byte 255 in UTF-8.
    letters = [PAIR if one == "ÿ" else one for one in sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokens = [BEGIN, END, *letters]
    _tokenizer(tokens).save_pretrained(folder)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokens),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            bos_token_id=tokens.index(BEGIN),
            eos_token_id=tokens.index(END),
            tie_word_embeddings=True,
        )
    )
    # As large as a trained model's: small ones could say nothing surely.
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=0.5)
    model.save_pretrained(folder)
    _teach(model, folder)
    model.save_pretrained(folder)
    return folder


def _tokenizer(tokens: list[str]) -> PreTrainedTokenizerFast:
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [(PAIR[0], PAIR[1])]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END)


def _teach(model: LlamaForCausalLM, folder: Path) -> None:
    vocabulary = language.vocabulary(folder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    lessons = pairs(_STEPS * _BATCH, seed=1)
    for start in range(0, len(lessons), _BATCH):
        rows = [
            vocabulary.question(text) + vocabulary.answer(answer)
            for text, answer in lessons[start : start + _BATCH]
        ]
        ids = torch.tensor(rows)
        labels = ids.clone()
        labels[:, : -len(vocabulary.answer("0" * DIGITS))] = -100
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
