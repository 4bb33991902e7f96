"""Grafana dashboards, written with grafana-foundation-sdk; ``generated/`` holds what Grafana reads.

``python -m config.dashboards`` writes it again. Only that needs the SDK, which is a development
dependency: nothing that runs in production imports this package.
"""
