"""What ``config/deploy`` starts: valid, coherent, and not open to more than it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from config.loading import load
from config.settings import Settings
from tests.prometheus import program

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "config/deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / "config" / path).read_text())


def mounts(service: str) -> dict[str, str]:
    """What of the repository, or which volume, is where in a service's container."""
    parts = (volume.split(":") for volume in SERVICES[service]["volumes"])
    return {inside: outside for outside, inside, *_ in parts}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, without comments and with broken lines put together."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = (line.split(maxsplit=1) for line in text.splitlines())
    return [(line[0], line[1]) for line in lines if len(line) == 2 and line[0] != "#"]


def test_compose_is_valid() -> None:
    """By the Compose Specification's schema, which check-jsonschema carries."""
    command = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [sys.executable, *command, DEPLOY / "compose.yaml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_what_is_mounted_is_there() -> None:
    for service in SERVICES:
        for outside in mounts(service).values():
            if outside.startswith("."):
                assert (DEPLOY / outside).exists(), outside
            else:
                assert outside in COMPOSE["volumes"]


def test_nothing_listens_beyond_this_machine() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_server_is_not_root_and_says_whether_it_is_well() -> None:
    last = dict(instructions())
    assert last["USER"] == "protege"
    assert "/healthz" in last["HEALTHCHECK"]
    assert (ROOT / last["ENTRYPOINT"].split('"')[1].removeprefix("/opt/protege/")).exists()


def test_the_image_gets_all_that_it_copies() -> None:
    let_in = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [
        name
        for word, rest in instructions()
        if word == "COPY" and "--from" not in rest
        for name in shlex.split(rest)[:-1]
    ]
    assert {f"!{name}" for name in copied} == {line for line in let_in if line.startswith("!")}
    assert all(list(ROOT.glob(name)) for name in copied)


def test_prometheus_and_grafana_find_what_they_show() -> None:
    prometheus = read("prometheus/prometheus.yml")
    (job,) = prometheus["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert target == "protege:8080"
    assert SERVICES["protege"]["ports"][0].endswith(":8080")
    (source,) = read("deploy/grafana/datasources.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    (provider,) = read("deploy/grafana/dashboards.yml")["providers"]
    path = provider["options"]["path"]
    assert mounts("grafana")[path] == "../dashboards/generated"
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "config/dashboards/generated" / Path(home).name).exists()
    assert str(Path(home).parent) == path


def test_the_settings_are_valid() -> None:
    load(DEPLOY / "protege.yaml")


def test_the_environment_names_settings_that_there_are() -> None:
    image = re.findall(r"(PROTEGE_\w+)=(\S+)", dict(instructions())["ENV"])
    named = [name for name, _ in image]
    named += [name for name in SERVICES["protege"]["environment"] if name.startswith("PROTEGE_")]
    named += re.findall(r"PROTEGE_\w+", (DEPLOY / "compose.yaml").read_text())
    assert len(set(named)) == 6
    for name in named:
        place: Any = Settings().model_dump()
        for step in name.removeprefix("PROTEGE_").lower().split("__"):
            assert step in place, name
            place = place[step]
    assert (dict(image)["PROTEGE_PORT"], dict(image)["PROTEGE_DATA"]) == ("8080", "/data")
    assert mounts("protege")["/data"] == "data"


def test_prometheus_knows_its_flags() -> None:
    known = subprocess.run([program("prometheus"), "--help"], capture_output=True, text=True)
    for flag in SERVICES["prometheus"]["command"]:
        name, _, value = flag.partition("=")
        assert f"{name}=" in known.stdout + known.stderr
        if name == "--enable-feature":
            assert value in known.stdout + known.stderr


def test_the_images_health_check_asks_the_server(tmp_path: Path) -> None:
    check = json.loads(dict(instructions())["HEALTHCHECK"].partition("CMD")[2])
    check[0] = sys.executable

    def healthy(url: str) -> bool:
        code = check[-1].replace("http://127.0.0.1:8080", url.removesuffix("/v1"))
        assert code != check[-1]
        return subprocess.run([*check[:-1], code], capture_output=True).returncode == 0

    with started(tmp_path) as url:
        assert healthy(url)
    assert not healthy(url)


def test_the_first_start_makes_a_key_for_its_owner_alone(tmp_path: Path) -> None:
    with started(tmp_path) as url:
        key = (tmp_path / "admin-key").read_text().strip()
        assert status(url, key) == 200
        assert status(url, "sk-protege-another") == 401
    assert (tmp_path / "admin-key").stat().st_mode & 0o777 == 0o600
    with started(tmp_path) as url:
        assert (tmp_path / "admin-key").read_text().strip() == key
        assert status(url, key) == 200


@contextmanager
def started(data: Path) -> Iterator[str]:
    """The URL of what the image's entry point starts."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PROTEGE_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PROTEGE_DATA": str(data),
        "PROTEGE_HOST": "0.0.0.0",
        "PROTEGE_PORT": "0",
        "PROTEGE_LOOP__ENABLED": "false",
    }
    process = subprocess.Popen(
        [DEPLOY / "entrypoint.sh", "--config", DEPLOY / "protege.yaml"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        announced = re.search(r"http://0\.0\.0\.0(:\d+/v1)", process.stdout.readline())
        assert announced
        yield f"http://127.0.0.1{announced[1]}"
    finally:
        process.terminate()
        process.wait(40)


def status(url: str, key: str) -> int:
    return httpx.get(f"{url}/models", headers={"authorization": f"Bearer {key}"}).status_code
