"""What the console shows of an exchange."""

import json

import pytest

from router.console.exchanges import question
from tests.distill.synthetic import exchange


@pytest.mark.parametrize("text", [5, {"a": 1}, ["x"], None, ""])
def test_what_is_no_text_is_shown_as_such(text: object) -> None:
    parts = [{"type": "text", "text": text}, {"type": "text", "text": "Which one?"}]
    request = json.dumps({"messages": [{"role": "user", "content": parts}]})
    shown = question(exchange(0, "", "a", request=request))
    assert shown.splitlines()[-1] == "Which one?"
