"""``python -m config.dashboards``: write the dashboards that Grafana reads."""

from __future__ import annotations

from config.dashboards.generate import FOLDER, generate

if __name__ == "__main__":
    for name, text in generate().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
