"""What is typed wrongly is told in one line."""

import pytest

from tests.router.server import run_cli


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("nothing", "protege: no such command 'nothing' (see protege --help)"),
        ("report --format zip", "protege report: invalid value for '--format': "),
        ("student export", "protege student export: missing argument "),
        ("serve --port abc", "protege serve: invalid value for '--port': "),
        ("keys create --lifetime", "protege keys create: no such option: --lifetime"),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments: str, said: str) -> None:
    process = run_cli(*arguments.split())
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert output == ""
    assert errors.startswith(said)
    assert errors.count("\n") == 1


def test_without_a_command_all_are_shown() -> None:
    process = run_cli()
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "serve" in output + errors
    assert "student" in output + errors
