"""The live display: what each task has come to so far. Silent where there is no terminal."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table

from policies.agreement import agree
from router.demo.drive import Reply


@dataclass(slots=True)
class _Count:
    answered: int = 0
    failed: int = 0
    student: int = 0
    agreed: int = 0
    teacher_usd: float = 0.0

    @property
    def saved_usd(self) -> float:
        """Student answers at what the teacher's have cost on average."""
        teacher = self.answered - self.student
        return self.student * self.teacher_usd / teacher if teacher else 0.0


class Progress:
    """Counts replies by task and shows the counts."""

    def __init__(self, tasks: Sequence[str], total: int, title: str, recorded: bool) -> None:
        """``recorded`` says whether the answers on record are the teacher's."""
        self._counts = {task: _Count() for task in tasks}
        self._total = total
        self._title = title
        self._recorded = recorded

    def shown(self, console: Console) -> AbstractContextManager[object]:
        """The counts are on display inside this context."""
        if not console.is_terminal:
            return nullcontext()
        return Live(console=console, refresh_per_second=4, get_renderable=self._table)

    def add(self, reply: Reply) -> None:
        count = self._counts[reply.sample.task]
        if reply.error is not None:
            count.failed += 1
            return
        count.answered += 1
        if reply.route == "student":
            count.student += 1
            count.agreed += agree(reply.text, reply.sample.answer)
        else:
            count.teacher_usd += reply.cost_usd

    def _table(self) -> Table:
        counts = self._counts.values()
        done = sum(count.answered + count.failed for count in counts)
        table = Table(title=f"{self._title}: {done:,} of {self._total:,} requests")
        table.add_column("task", no_wrap=True)
        for heading in ("requests", "by student", "agreement", "saved $"):
            table.add_column(heading, justify="right")
        for task, count in self._counts.items():
            table.add_row(task, *self._cells(count))
        table.add_section()
        table.add_row("all", f"{done:,}", "", "", f"{sum(c.saved_usd for c in counts):.4f}")
        return table

    def _cells(self, count: _Count) -> tuple[str, str, str, str]:
        known = self._recorded and count.student
        return (
            f"{count.answered:,}" + (f" ({count.failed} failed)" if count.failed else ""),
            f"{count.student / count.answered:.0%}" if count.answered else "–",
            f"{count.agreed / count.student:.1%}" if known else "–",
            f"{count.saved_usd:.4f}",
        )
