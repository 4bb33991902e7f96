"""The kinds of students that a trainer makes."""

from config.settings import LoopSettings, PolicySettings
from distill.trainer.encoders import Encoders
from distill.trainer.handover import TrainerSettings
from distill.trainer.kinds import Kinds
from distill.trainer.shelf import Shelf
from telemetry.store import Store


def test_tasks_without_a_latin_letter_have_folders_of_their_own(tmp_path):
    settings = TrainerSettings(data=tmp_path, policy=PolicySettings(), loop=LoopSettings())
    encoders = Encoders(tmp_path, None)
    kinds = Kinds(settings, encoders, Shelf(Store(tmp_path), tmp_path, encoders.open))
    assert kinds.scratch("发票") != kinds.scratch("退款")
    assert kinds.scratch("发票") == kinds.scratch("发票")
