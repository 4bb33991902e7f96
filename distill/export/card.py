"""The card of an exported student, as a Hugging Face model card (Mitchell et al. 2019): what it is,
how it was tested, what it promises, and how to ask it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from string import Template

from distill.card import Card, SliceFigures, Verdict
from distill.export.folder import Manifest, RungManifest
from distill.students.extraction.shape import Series, Slot
from policies.binomial import clopper_pearson
from policies.promise import Promise
from telemetry.exchange import StudentRecord

_LEVEL = 0.95
"""Of intervals."""


def card(manifest: Manifest, record: StudentRecord, about: Card, promise: Promise) -> str:
    """The card, as Markdown, of a student that was tested for that ``promise``."""
    parts = [
        _front_matter(manifest),
        f"# {manifest.version}",
        _summary(manifest, record),
        "## Promise",
        _promise(about.gate, promise),
        "## Evaluation",
        _evaluation(about),
        "## How to run it",
        _run(manifest),
        "## What a request looks like",
        _reading(manifest),
        "## Licence",
        _licence(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(manifest: Manifest) -> str:
    lines = ["---", "library_name: " + _LIBRARIES[manifest.format]]
    if manifest.licence is not None:
        lines.append(f"license: {json.dumps(manifest.licence.lower())}")
    tags = ["protege", "distillation", manifest.kind]
    lines += ["tags:", *(f"- {tag}" for tag in tags), "---"]
    return "\n".join(lines)


def _summary(manifest: Manifest, record: StudentRecord) -> str:
    trained = datetime.fromtimestamp(record.created, UTC)
    fields = next((found for rung in manifest.rungs if (found := _fields(rung))), [])
    rows = [
        ("task", _code(manifest.task)),
        ("kind", f"{manifest.kind}, of {' and '.join(rung.name for rung in manifest.rungs)}"),
        ("format", manifest.format),
        ("teacher", ", ".join(map(_code, manifest.teachers)) or "not known"),
        ("dataset version", _code(manifest.dataset or "not known")),
        ("trained", f"{trained:%Y-%m-%d}"),
        *_thresholds(manifest),
    ]
    for place, values in enumerate(fields, 1):
        title = "answers" if len(fields) == 1 else f"answers, field {place}"
        rows.append((title, values))
    if manifest.barred:
        rows.append(("answers that it is never sure of", ", ".join(map(_code, manifest.barred))))
    told = "A student of Protege: it answers one task in the place of the model that taught it."
    return told + "\n\n" + _table(("", ""), rows)


def _fields(rung: RungManifest) -> list[str]:
    """What each field of the answers of a rung says."""
    if rung.extraction is None:
        return [", ".join(map(_code, values)) for values in rung.fields]
    return [
        ", ".join(map(_code, field)) if isinstance(field, tuple) else _copied(field)
        for field in rung.extraction.fields
    ]


def _copied(field: Slot | Series) -> str:
    said = "copied from the request"
    if isinstance(field, Series):
        said = "a list of what is copied from the request"
        if field.sorts > 1:
            said += f", each with one of {', '.join(map(_code, field.endings))}"
    return said if field.none is None else f"{said}, or {_code(field.none)}"


def _thresholds(manifest: Manifest) -> list[tuple[str, str]]:
    if manifest.floors is None:
        return [("threshold", f"{manifest.threshold:.6g}")]
    floors = manifest.floors.thresholds.items()
    rows = [(f"threshold, {manifest.floors.kind} {_cell(n)}", f"{at:.6g}") for n, at in floors]
    return [*rows, (f"threshold, any other {manifest.floors.kind}", "none: the teacher answers")]


def _promise(gate: Verdict, promise: Promise) -> str:
    if not gate.passed:
        return f"None: {gate.veto or gate.reason or 'it was not tested'}."
    if gate.upper is None:
        return "None: there is no record of its test."
    reaches = f"the answers whose confidence is {gate.threshold:.6g} or more"
    if gate.floors:
        reaches = "each slice's answers whose confidence is the slice's threshold or more"
    return (
        f"Of {reaches}, at most {promise.alpha:.3g} disagree with the teacher's, with confidence "
        f"{1 - promise.delta:.3g}; on its test it was at most {gate.upper:.4f}. It is about "
        "requests like those of its test: nobody watches whether they still are."
    )


def _evaluation(about: Card) -> str:
    if about.slices:
        return _slices(about.slices)
    gate = about.gate
    if gate.disagreement is None:
        return "None was made."
    agreement = 1 - gate.disagreement
    low, high = clopper_pearson(agreement, gate.answered, 1 - _LEVEL)
    return (
        f"Of {gate.answered} answers to requests that it was not trained on, {agreement:.1%} agree "
        f"with the teacher's (95% interval: {low:.1%} to {high:.1%}); it answers {gate.share:.1%} "
        "of the requests."
    )


def _slices(slices: Sequence[SliceFigures]) -> str:
    rows = []
    for each in slices:
        agreement, within = "", ""
        if each.agreement is not None:
            agreement = f"{each.agreement:.1%}"
            within = f"{each.low:.1%} to {each.high:.1%}"
        share, name = f"{each.share:.1%}", f"{each.kind}: {each.name}"
        rows.append((_cell(name), share, str(each.answered), agreement, within, each.bound))
    told = "On answers that it was not trained on, by kind of request (95% intervals):"
    titles = ("slice", "of requests", "answers", "agree", "interval", "bound")
    return told + "\n\n" + _table(titles, rows)


def _run(manifest: Manifest) -> str:
    encodes = manifest.encoder_tokens is not None
    packages = _PACKAGES[manifest.format] + (" tokenizers" if encodes else "")
    ask = _ASK[manifest.kind]
    told = Template(_RUN + ask).substitute(packages=packages, **_CODE.get(manifest.format, {}))
    return told.rstrip()


def _reading(manifest: Manifest) -> str:
    lines = [
        "The student reads what varies between requests: the texts of all messages, joined by line "
        "breaks, without the leading system and developer messages."
    ]
    if manifest.head:
        lines.append("It does not read this beginning, which all of them have:")
        lines.append(_fenced(manifest.head))
    if manifest.masks:
        lines.append(
            "It was taught with placeholders such as `[EMAIL_1]` in the place of private data, and "
            "reads them so: `protege student run` puts them there and takes them out again."
        )
    lines.append(
        "Below its threshold, ask the teacher. `manifest.json` has all figures that this takes."
    )
    return "\n\n".join(lines)


def _licence(manifest: Manifest) -> str:
    if manifest.licence is None:
        return "It started from no model, or from one that does not say under which licence it is."
    return f"The model that it started from: {manifest.licence}."


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(text: str) -> str:
    return f"`{_cell(text).replace('`', chr(39))}`"


def _cell(text: str) -> str:
    """``text`` as part of one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"


_LIBRARIES = {
    "onnx": "onnxruntime",
    "hf": "transformers",
    "gguf": "llama.cpp",
    "ctranslate2": "ctranslate2",
}

_PACKAGES = {
    "onnx": "numpy onnxruntime xxhash",
    "hf": "torch transformers",
    "gguf": "tokenizers xllamacpp",
    "ctranslate2": "ctranslate2 tokenizers",
}

_RUN = """\
```sh
sha256sum --check --quiet SHA256SUMS    # is it all there, and as it was?
protege student run .                   # OpenAI's API, where Protege is installed
```

Without Protege it takes `pip install $packages`.

"""

_STANDALONE = """\
```sh
python student.py "the text of a request"
```

"""

_ASK = {
    "label": _STANDALONE
    + """\
`student.py` is short, and meant to be read: by `ngrams.py` a text becomes the `buckets` and
`counts` that the ONNX graphs take; they give the probability of each label and the confidence.
""",
    "extraction": _STANDALONE
    + """\
`student.py` is short, and meant to be read. `extraction.onnx` tells from the features of the text's
tokens what each of them is, `copying` has what makes the features and what finds the likeliest
spans, and `extraction_answer.onnx` tells from these spans' probability, and from the `buckets` and
`counts` of the text by `ngrams.py`, the fields that are not copied and how sure the student is.
""",
    "text": """\
A question is the text between the model's marks of beginning and end; the answer ends with the
latter.

```python
import json
import sys

$imports

manifest = json.load(open("manifest.json"))
marks = json.load(open("model/marks.json"))
$setup
for text in sys.argv[1:]:
    text = text.removeprefix(manifest["head"])
    $encode
    question = [i for i in (marks["begin"], *ids, marks["end"]) if i is not None]
    $answer
```

How sure it is of an answer `confidence.onnx` tells, from the `buckets` of the text by `ngrams.py`
and the `probability` of the answer, which is the product of the probabilities of its tokens, with
that of the mark of its end.
""",
}

_TOKENIZER = """\
tokenizer = tokenizers.Tokenizer.from_file("model/tokenizer.json")
tokenizer.encode_special_tokens = True
"""
_ENCODE = "ids = tokenizer.encode(text, add_special_tokens=False).ids"

_CODE = {
    "hf": {
        "imports": "import torch\nfrom transformers import AutoModelForCausalLM, AutoTokenizer",
        "setup": """\
tokenizer = AutoTokenizer.from_pretrained("model")
model = AutoModelForCausalLM.from_pretrained("model")
""",
        "encode": (
            "ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids"
        ),
        "answer": """\
said = model.generate(
        torch.tensor([question]),
        attention_mask=torch.ones(1, len(question)),
        max_new_tokens=manifest["rungs"][-1]["most_tokens"],
        do_sample=False,
    )
    print(tokenizer.decode(said[0, len(question) :], skip_special_tokens=True))""",
    },
    "gguf": {
        "imports": "import tokenizers\nimport xllamacpp",
        "setup": _TOKENIZER
        + """\
parameters = xllamacpp.CommonParams()
parameters.model.path = "model/model.gguf"
parameters.n_ctx = 4096
parameters.n_parallel = 1
parameters.verbosity = 0
server = xllamacpp.Server(parameters)
""",
        "encode": _ENCODE,
        "answer": """\
said = server.handle_completions(
        {
            "prompt": question,
            "n_predict": manifest["rungs"][-1]["most_tokens"],
            "temperature": 0.0,
        }
    )
    print(said["choices"][0]["text"])""",
    },
    "ctranslate2": {
        "imports": "import ctranslate2\nimport tokenizers",
        "setup": _TOKENIZER + 'generator = ctranslate2.Generator("model")\n',
        "encode": _ENCODE,
        "answer": """\
(said,) = generator.generate_batch(
        [[tokenizer.id_to_token(i) for i in question]],
        max_length=manifest["rungs"][-1]["most_tokens"],
        include_prompt_in_result=False,
        end_token=[tokenizer.id_to_token(marks["end"])],
        sampling_topk=1,
    )
    # The model has the tokens in an order of its own.
    ids = [tokenizer.token_to_id(token) for token in said.sequences[0]]
    print(tokenizer.decode(ids, skip_special_tokens=True))""",
    },
}
