"""What writes the answers of exported text students: transformers, or llama.cpp.

CTranslate2 is in ``distill.students.text.engine``: it serves them in the router too.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from distill.export.folder import GGUF, ExportError
from distill.students.text.engine import Sampling, Written
from distill.students.text.vocabulary import Vocabulary

_CONTEXT = 4096
"""Tokens of question and answer that llama.cpp keeps room for."""


class Writer(Protocol):
    """Writes the likeliest answers."""

    def write(self, texts: Sequence[str], sampling: Sampling) -> list[Written]: ...


class Transformers:
    """The language model in a Hugging Face folder."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        self._vocabulary = Vocabulary.load(folder)
        # A folder may come from anybody. Unless it is told, transformers asks on a terminal whether
        # code in it is to be run.
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype="auto",
        ).eval()

    def write(self, texts: Sequence[str], sampling: Sampling) -> list[Written]:
        return [self._write(self._vocabulary.question(text), sampling) for text in texts]

    def _write(self, question: list[int], sampling: Sampling) -> Written:
        import torch

        end = self._vocabulary.end
        ids = torch.tensor([question])
        said = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=sampling.most_tokens,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=end,
            return_dict_in_generate=True,
            output_logits=True,
        )
        answer = said.sequences[0, len(question) :].tolist()
        logprobs = tuple(
            float(torch.log_softmax(logits[0].float(), -1)[token])
            for logits, token in zip(said.logits, answer, strict=True)
        )
        finished = answer[-1:] == [end]
        text = self._vocabulary.text(answer[:-1] if finished else answer)
        return Written(text, logprobs, finished)


class LlamaCpp:
    """The language model in a GGUF file, on one thread. Raises ExportError where llama.cpp is not
    installed.

    An answer that has part of a character for a token is not sure: it counts as not finished.
    """

    def __init__(self, folder: Path) -> None:
        if find_spec("xllamacpp") is None:
            raise ExportError("a gguf student needs `pip install protege-router[gguf]`")
        import xllamacpp

        self._vocabulary = Vocabulary.load(folder)
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(folder / GGUF)
        parameters.n_ctx = _CONTEXT
        parameters.n_parallel = 1
        parameters.cpuparams.n_threads = 1
        parameters.cpuparams_batch.n_threads = 1
        parameters.n_gpu_layers = 0
        parameters.warmup = False
        parameters.verbosity = 0
        # It listens on a port of its own too, which is nobody's business.
        parameters.api_keys = [secrets.token_hex()]
        parameters.ui = False
        self._server: Any = xllamacpp.Server(parameters)

    def write(self, texts: Sequence[str], sampling: Sampling) -> list[Written]:
        return [self._write(self._vocabulary.question(text), sampling) for text in texts]

    def _write(self, question: list[int], sampling: Sampling) -> Written:
        asked = {
            "prompt": question,
            "n_predict": sampling.most_tokens,
            "temperature": 0.0,
            "n_probs": 1,
            # Or what was asked before would change how the answer is rounded.
            "cache_prompt": False,
        }
        said = self._server.handle_completions(asked)
        if "error" in said:
            raise RuntimeError(str(said["error"]))
        (choice,) = said["choices"]
        tokens = choice["logprobs"]["content"]
        logprobs = tuple(float(token["logprob"]) for token in tokens)
        # llama.cpp does not say how likely a token was that ends within a character.
        complete = len(tokens) == said["usage"]["completion_tokens"]
        ended = bool(tokens) and tokens[-1]["id"] == self._vocabulary.end
        return Written(choice["text"], logprobs, ended and complete)
