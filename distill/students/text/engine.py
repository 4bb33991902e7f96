"""What text students are served by: CTranslate2, in 8-bit integers.

``bench.engines`` compares it with others. It needs neither torch nor transformers to serve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.students.text.vocabulary import Vocabulary

_BATCH = 32
"""Most questions that are answered at once,"""
_SPREAD = 8
"""and how many tokens longer than the shortest of them they may be: what is longer is read token by
token, at the pace of writing."""

_QUANTISATION = "int8_float32"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is written, as in OpenAI's API. At temperature 0 every token is the likeliest
    one."""

    most_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    """Texts before which the answer ends."""


@dataclass(frozen=True, slots=True)
class Written:
    """An answer and how it came about."""

    text: str
    logprobs: tuple[float, ...]
    """Of its tokens, the mark of the end included, in nats; where a stop text has ended it, of all
    that was written."""
    finished: bool
    """Whether the model or a stop text has ended it, rather than the limit on tokens."""


@dataclass(slots=True)
class _Draft:
    """An answer that is being written."""

    vocabulary: Vocabulary
    stop: tuple[str, ...]
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    cut: str | None = None
    """The text up to the first stop text, once there is one."""

    def add(self, token: int, logprob: float) -> bool:
        """Take one more token; True where a stop text ends the answer."""
        self.ids.append(token)
        self.logprobs.append(logprob)
        if self.stop:
            text = self.vocabulary.text(self.ids)
            found = [at for mark in self.stop if (at := text.find(mark)) >= 0]
            self.cut = text[: min(found)] if found else None
        return self.cut is not None

    def written(self) -> Written:
        ended = bool(self.ids) and self.ids[-1] == self.vocabulary.end
        ids = self.ids[:-1] if ended else self.ids
        text = self.vocabulary.text(ids) if self.cut is None else self.cut
        return Written(text, tuple(self.logprobs), ended or self.cut is not None)


class Engine:
    """A language model ready to answer; ``folder`` is as ``convert`` made it.

    Raises OSError, KeyError, ValueError or RuntimeError on damaged files.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        import ctranslate2

        self._vocabulary = Vocabulary.load(folder)
        self._generator: Any = ctranslate2.Generator(
            str(folder), device="cpu", inter_threads=1, intra_threads=threads
        )

    def write(self, texts: Sequence[str], sampling: Sampling) -> list[Written]:
        """An answer to each of ``texts``; they are answered together."""
        drafts = [_Draft(self._vocabulary, sampling.stop) for _ in texts]
        questions = [self._vocabulary.question(text) for text in texts]
        for batch in _batches([len(question) for question in questions]):
            self._write(batch, questions, drafts, sampling)
        return [draft.written() for draft in drafts]

    def _write(
        self,
        batch: Sequence[int],
        questions: Sequence[Sequence[int]],
        drafts: Sequence[_Draft],
        sampling: Sampling,
    ) -> None:
        # Not by way of the engine: a thread of its own may let go of this last, and end it.
        vocabulary = self._vocabulary

        def take(step: Any) -> bool:
            # By its name: which place it has among the engine's tokens is the engine's business.
            return drafts[batch[step.batch_id]].add(vocabulary.id_of(step.token), step.log_prob)

        random = sampling.temperature > 0
        self._generator.generate_batch(
            [vocabulary.tokens(questions[i]) for i in batch],
            max_length=sampling.most_tokens,
            include_prompt_in_result=False,
            end_token=vocabulary.tokens([vocabulary.end]),
            return_end_token=True,
            return_scores=True,
            sampling_topk=0 if random else 1,
            sampling_topp=sampling.top_p if random else 1.0,
            sampling_temperature=sampling.temperature if random else 1.0,
            callback=take,
        )


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Positions in ``lengths``, in batches of like length."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        last = batches[-1] if batches else []
        if last and len(last) < _BATCH and lengths[i] <= lengths[last[0]] + _SPREAD:
            last.append(i)
        else:
            batches.append([i])
    return batches


def convert(
    model: Path, vocabulary: Vocabulary, target: Path, written: Sequence[int] | None = None
) -> None:
    """Write the Hugging Face model in folder ``model`` to ``target`` as ``Engine`` reads it. It can
    write the tokens ``written`` alone; None stands for all.

    Raises ValueError for a kind of model that the engine does not know.
    """
    from ctranslate2.converters import TransformersConverter

    class Converter(TransformersConverter):
        def _load(self) -> Any:
            read = super()._load()
            if written is not None:
                _restrict(read, written)
            return read

    Converter(str(model)).convert(str(target), quantization=_QUANTISATION, force=True)
    vocabulary.save(target)


def _restrict(model: Any, written: Sequence[int]) -> None:
    """Have an engine's ``model`` write these tokens alone. They come first: what its output layer
    gives the highest value to is a place among the tokens."""
    names, chosen = model._vocabulary, set(written)
    order = [*written, *(id_ for id_ in range(len(names)) if id_ not in chosen)]
    read, output = model.decoder.embeddings, model.decoder.projection
    read.weight = read.weight.detach()[order]
    output.weight = output.weight.detach()[list(written)]
    if output.has_bias():
        output.bias = output.bias.detach()[list(written)]
    model.register_vocabulary([names[id_] for id_ in order])
