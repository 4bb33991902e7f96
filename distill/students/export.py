"""Export a sentence encoder for serving: ``python -m distill.students.export FOLDER TARGET``.

FOLDER holds an encoder in Hugging Face layout. TARGET becomes an ONNX graph with 8-bit integer
weights that maps ``input_ids`` and ``attention_mask`` [n, tokens] to mean-pooled, unit-length
embeddings [n, dim].
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoModel


class Pooled(torch.nn.Module):
    """An encoder with the mean of its last hidden states, scaled to unit length."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(folder, local_files_only=True)

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        mean = mean_state(self.encoder, input_ids, attention_mask)
        return torch.nn.functional.normalize(mean, dim=1)


def mean_state(encoder: Any, input_ids: Any, attention_mask: Any) -> Any:
    """The mean of the last hidden states of ``encoder``, padding left out: [n, dim]."""
    hidden = encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
    weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1)


def export(model: torch.nn.Module, target: Path) -> None:
    """Write ``model``, which maps ids and mask [n, tokens] to [n, dim], to ``target``, which
    appears only when it is complete."""
    example = torch.ones(2, 8, dtype=torch.long)
    dynamic = {0: "batch", 1: "length"}
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        plain, quantised = Path(scratch) / "plain.onnx", Path(scratch) / "int8.onnx"
        torch.onnx.export(
            model.eval(),
            (example, example),
            str(plain),
            input_names=["input_ids", "attention_mask"],
            output_names=["embedding"],
            dynamic_axes={
                "input_ids": dynamic,
                "attention_mask": dynamic,
                "embedding": {0: "batch"},
            },
            dynamo=False,
        )
        quantize_dynamic(str(plain), str(quantised), weight_type=QuantType.QInt8)
        quantised.replace(target)


if __name__ == "__main__":
    export(Pooled(Path(sys.argv[1])), Path(sys.argv[2]))
