"""The process, from its settings to its end."""

from __future__ import annotations

import os
import sys
import threading

from threadpoolctl import threadpool_limits

from distill.trainer.handover import PARENT_VARIABLE, SETTINGS_VARIABLE, TrainerSettings
from distill.trainer.loop import Trainer
from telemetry.logs import configure
from telemetry.store import once_open


def main() -> None:
    settings = TrainerSettings.model_validate_json(os.environ[SETTINGS_VARIABLE])
    configure(settings.log)
    parent = int(os.environ[PARENT_VARIABLE])

    def is_orphan() -> bool:
        return os.getppid() != parent

    def still_wanted() -> None:
        if is_orphan():
            sys.exit()

    # Serving needs the cores more than training does.
    with threadpool_limits(1):
        trainer = once_open(lambda: Trainer(settings), still_wanted)
        # Cheap students need no encoder and should not wait for it.
        threading.Thread(target=trainer.prepare_encoder, daemon=True).start()
        trainer.run(is_orphan)


if __name__ == "__main__":
    main()
