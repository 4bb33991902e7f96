"""A teacher that is at hand: a model in a local folder, asked what it thinks of every token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from distill.students.text import language
from distill.students.text.examples import Example
from distill.students.text.lesson import Lesson
from distill.students.text.vocabulary import Vocabulary


class Scorer:
    """A local teacher of a student with ``vocabulary``.

    One that has a chat template is asked as callers asked it; one that has none, such as a text
    student, reads what its own student reads. Raises LanguageModelError, and ValueError where the
    two have other tokens.
    """

    def __init__(self, folder: Path, vocabulary: Vocabulary, device: str, dtype: Any) -> None:
        own = language.vocabulary(folder)
        same = own.tokenizer.get_vocab() == vocabulary.tokenizer.get_vocab()
        if not same or own.end != vocabulary.end:
            raise ValueError(f"{folder}: a local teacher must have the student's tokens")
        self._vocabulary = vocabulary
        self._chat: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True
        ).to(device)
        self._model.eval()

    def question(self, lesson: Lesson) -> list[int]:
        """What this teacher reads of a lesson; nothing where its chat template has no place for
        such messages."""
        if not (self._chat.chat_template and lesson.messages):
            return self._vocabulary.question(lesson.text)
        try:
            text = self._chat.apply_chat_template(
                list(lesson.messages), tokenize=False, add_generation_prompt=True
            )
        except (TemplateError, TypeError):
            return []
        return list(self._chat(text, add_special_tokens=False).input_ids)

    @torch.no_grad()
    def logits(self, batch: Sequence[Example]) -> Tensor:
        """Of the answers' tokens [n, vocabulary], of examples that were asked."""
        rows = [
            (example.asked + example.ids[-example.answer :], example.answer) for example in batch
        ]
        return answer_logits(self._model, rows, self._vocabulary.end)


def answer_logits(model: Any, rows: Sequence[tuple[list[int], int]], end: int) -> Tensor:
    """Logits [n, vocabulary] where the last so many ids of each row are predicted.

    Padding comes last, where no token sees it, so no mask is needed; and logits are computed where
    an answer is predicted alone: the vocabulary is what costs most.
    """
    length = max(len(ids) for ids, _ in rows)
    padded = torch.full((len(rows), length), end, dtype=torch.long)
    predicted = torch.zeros((len(rows), length), dtype=torch.bool)
    for row, (ids, answer) in enumerate(rows):
        padded[row, : len(ids)] = torch.tensor(ids)
        predicted[row, len(ids) - answer : len(ids)] = True
    padded, predicted = padded.to(model.device), predicted.to(model.device)
    hidden = model.base_model(input_ids=padded, use_cache=False).last_hidden_state
    return model.get_output_embeddings()(hidden[:, :-1][predicted[:, 1:]])
