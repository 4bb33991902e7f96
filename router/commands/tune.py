"""``protege student tune``: have the provider fine-tune a cheaper model on a task's answers."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl

import openai
import typer
import xxhash

from config.settings import ModelSettings, Settings
from distill import tuning
from distill.data import lessons as pairs
from distill.data.dataset import Dataset
from distill.tuning import EXAMPLES, LEAST_EXAMPLES, Plan, Tuning, TuningError
from router.commands.data import learning
from router.commands.opened import Config, Data, fail, opened
from router.upstreams.http import OPENAI

_SUFFIX_LENGTH = 18
"""Characters that the provider makes part of a model's name."""


def tune(
    task: Annotated[str, typer.Argument(metavar="TASK")],
    model: Annotated[str, typer.Option(help="The provider's model to fine-tune.")],
    usd_per_million: Annotated[
        float, typer.Option(min=0, help="What the provider charges for a million training tokens.")
    ] = 0.0,
    most_usd: Annotated[
        float | None, typer.Option(min=0, help="Begin only if it costs no more than this.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, max=50, help="How often to read them.")] = 3,
    stop: Annotated[bool, typer.Option("--cancel", help="Stop the job under way.")] = False,
    poll_s: Annotated[float, typer.Option(min=0.01, help="Seconds between two looks.")] = 10.0,
    data: Data = None,
    config: Config = None,
) -> None:
    """Fine-tune a hosted model on a task's answers, through the provider's fine-tuning API.

    Without --most-usd it only says what that would cost. Where a job is under way already, it goes
    on with that, whatever became of who began it. The new model earns the task by try-outs, as any
    hosted model does.
    """
    with opened(data, config) as (settings, _):
        name = xxhash.xxh3_64_hexdigest(f"{task}\0{model}".encode())
        folder = settings.data / "tuning" / name
        client = _client(settings, model)
    under_way = Tuning.load(folder)
    if stop:
        _cancel(client, under_way, folder)
        return
    # What never was uploaded is made anew: some of it may have been forgotten since.
    if under_way is None or under_way.file is None:
        with learning(task, data, config, every=True) as of:
            plan = Plan(task, model, epochs, _suffix(task))
            usd = _estimate(of.data, epochs, usd_per_million)
            if most_usd is None:
                typer.echo("Nothing is begun: --most-usd says what it may cost.")
                return
            if usd > most_usd:
                fail(f"it would cost {usd:.2f} USD, more than --most-usd {most_usd:g}")
            folder.mkdir(parents=True, exist_ok=True)
            pairs.write(pairs.lessons(of.data, of.read.exchanges), folder / EXAMPLES, "openai")
        under_way = Tuning(plan)
    try:
        job = tuning.run(client, under_way, folder, typer.echo, poll_s)
    except TuningError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("the job goes on at the provider; the same command follows it, --cancel stops it", 130)
    typer.echo(f"{job.trained_tokens or 0:,} tokens were trained. Let it earn the task:\n")
    typer.echo(f'hosted:\n  models:\n    - {{model: "{job.fine_tuned_model}", tasks: ["{task}"]}}')


def _suffix(task: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", task.lower())[:_SUFFIX_LENGTH].strip("-") or "task"


def _estimate(data: Dataset, epochs: int, usd_per_million: float) -> float:
    """Say what it would cost, in USD."""
    taught = [example for example in data.examples if example.flaw is None]
    if len(taught) < LEAST_EXAMPLES:
        fail(f"{len(taught)} answers to learn from are too few: at least {LEAST_EXAMPLES}")
    tokens = sum(example.prompt_tokens + example.completion_tokens for example in taught)
    usd = tuning.cost(tokens, epochs, usd_per_million)
    priced = f"about {usd:.2f} USD" if usd_per_million else "no price given (--usd-per-million)"
    typer.echo(f"{len(taught)} answers of {tokens:,} tokens, read {epochs} times: {priced}.")
    return usd


def _cancel(client: openai.OpenAI, under_way: Tuning | None, folder: Path) -> None:
    if under_way is None:
        fail("no job is under way")
    try:
        tuning.cancel(client, under_way, folder)
    except TuningError as error:
        fail(str(error))
    typer.echo("The job is cancelled.")


def _client(settings: Settings, model: str) -> openai.OpenAI:
    """The provider of ``model``: where the settings of hosted models have it, else OpenAI."""
    known = {one.model: one for one in settings.hosted.models}
    found: ModelSettings | None = known.get(model)
    key = None if found is None or found.api_key is None else found.api_key.get_secret_value()
    key = key or os.environ.get("OPENAI_API_KEY")
    if not key:
        fail("no key: set OPENAI_API_KEY, or api_key of the model in hosted.models")
    root, _, query = ((found and found.base_url) or OPENAI).partition("?")
    return openai.OpenAI(api_key=key, base_url=root, default_query=dict(parse_qsl(query)))
