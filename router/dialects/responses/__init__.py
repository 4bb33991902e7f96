"""OpenAI's Responses API over chat completions.

Source of the wire format: https://platform.openai.com/docs/api-reference/responses and
``/responses-streaming``; the types are those of the ``openai`` client.
"""
