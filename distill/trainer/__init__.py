"""The learning loop's process: watch the exchanges, retrain what is due, register what passes.

Runs beside the server at low priority: ``python -m distill.trainer`` with its settings as JSON in
the environment variable ``PROTEGE_TRAINER``. It stops when the process that started it is gone.
"""
