"""Anthropic's Messages API, ``POST /v1/messages``, over chat completions.

Source of the wire format: https://docs.anthropic.com/en/api/messages and
https://docs.anthropic.com/en/docs/build-with-claude/streaming.
"""
