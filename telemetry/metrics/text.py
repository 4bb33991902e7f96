"""The two text formats that metrics are sent in: Prometheus' own, and OpenMetrics.

prometheus_client writes both too, and checks each name of each sample by patterns, which takes more
than half of a scrape. The names here are all ours, and have the letters that they may have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

PLAIN = CONTENT_TYPE_PLAIN_0_0_4
OPENMETRICS = CONTENT_TYPE_LATEST


def content_type(accept: str) -> str:
    """The format that an HTTP ``Accept`` header asks for."""
    kinds = {kind.partition(";")[0].strip() for kind in accept.split(",")}
    return OPENMETRICS if "application/openmetrics-text" in kinds else PLAIN


def plain(families: Iterable[Metric]) -> bytes:
    """Prometheus' text format, version 0.0.4. Exemplars are left out."""
    lines: list[str] = []
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        words = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
        lines += (f"# HELP {name} {words}\n", f"# TYPE {name} {family.type}\n")
        lines += (f"{_sample(sample)}\n" for sample in family.samples)
    return "".join(lines).encode()


def openmetrics(families: Iterable[Metric]) -> bytes:
    """OpenMetrics 1.0, with exemplars."""
    return "".join([*_openmetrics(families), "# EOF\n"]).encode()


def _openmetrics(families: Iterable[Metric]) -> Iterator[str]:
    for family in families:
        yield f"# HELP {family.name} {_escaped(family.documentation)}\n"
        yield f"# TYPE {family.name} {family.type}\n"
        for sample in family.samples:
            example = "" if sample.exemplar is None else _exemplar(sample.exemplar)
            yield f"{_sample(sample)}{example}\n"


def _sample(sample: Sample) -> str:
    value = _number(sample.value)
    if not sample.labels:
        return f"{sample.name} {value}"
    return f"{sample.name}{_labels(sample.labels)} {value}"


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join([f'{name}="{_escaped(labels[name])}"' for name in sorted(labels)]) + "}"


def _exemplar(exemplar: Exemplar) -> str:
    value = _number(exemplar.value)
    return f" # {_labels(exemplar.labels)} {value} {exemplar.timestamp}"


def _number(value: float) -> str:
    return floatToGoString(value)  # type: ignore[no-any-return, no-untyped-call]


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
