"""Every page in a real browser: what it shows, what can be done, for whom it can be read."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from router.console import words
from router.console.period import Period, Total
from router.report.estimate import saved
from telemetry.exchange import PICO
from telemetry.figures import sums
from tests.router.console.conftest import CANARY, HOSTILE, Site, open_site
from tests.router.console.test_access import boss
from tests.router.console.traffic import COMING, REPLACED, SERVING, UNTESTED
from tests.router.server import eventually, run_cli
from tests.router.upstream import StubUpstream

# However slow the machine is.
expect.set_options(timeout=30_000)

NODE = Path(__file__).parent / "node"
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}

PAGES = {
    "overview": "",
    "tasks": "/tasks?sort=saved",
    "task": "/task?name=support-triage",
    "task without a student": "/task?name=product-copy",
    "students": "/students",
    "student in service": f"/student?version={SERVING}",
    "student on its way": f"/student?version={COMING}",
    "student replaced": f"/student?version={REPLACED}",
    "exchanges": "/exchanges",
    "no exchanges": "/exchanges?text=nothing+like+it",
    "exchange": "/exchange?id=req_support-triage-3-1",
    "hostile exchange": "/exchange?id=req_hostile",
    "keys": "/keys",
    "a key": "/key?id={key}",
    "no page": "/nowhere",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("the console is tried out in chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def session(browser: Browser, site: Site) -> Any:
    """Cookies of somebody who has signed in at the sign-in page."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site.url}/keys")
    page.get_by_label("Admin key").fill(site.admin)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console said."""
    return []


@pytest.fixture
def page(browser: Browser, session: Any, complaints: list[str]) -> Iterator[Page]:
    """A browser that is signed in; nothing may go wrong in it."""
    context = browser.new_context(storage_state=session, viewport=DESK)  # type: ignore[arg-type]
    page = context.new_page()
    watch(page, complaints)
    yield page
    context.close()
    assert complaints == []


def watch(page: Page, complaints: list[str]) -> None:
    """Collect what goes wrong in a page. That a page was refused is not among it."""

    def heard(said: ConsoleMessage) -> None:
        if said.type in ("error", "warning") and "responded with a status of 40" not in said.text:
            complaints.append(said.text)

    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", heard)


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, in the version that is locked."""
    script = NODE / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        if shutil.which("npm") is None:
            pytest.skip("axe-core needs npm to be installed")
        command = ["npm", "ci", "--no-audit", "--no-fund"]
        npm = subprocess.run(command, cwd=NODE, capture_output=True, text=True)
        if npm.returncode:
            pytest.skip(f"npm cannot install axe-core: {npm.stderr.strip()[-300:]}")
    return script.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_everybody_can_read_every_page(page: Page, site: Site, axe: str, name: str) -> None:
    page.goto(site.url + PAGES[name].format(key=boss(site).id))
    expect(page.locator("h1")).to_have_count(1)
    can_be_read(page, axe)


def test_a_new_server_can_be_read_too(
    browser: Browser, shared_upstream: StubUpstream, axe: str, tmp_path: Path
) -> None:
    """Where nothing has been asked yet, and nobody has a key."""
    with open_site(shared_upstream, tmp_path) as server:
        page = browser.new_page(viewport=DESK)  # type: ignore[arg-type]
        complaints: list[str] = []
        watch(page, complaints)
        for path in ("", "/tasks", "/students", "/exchanges", "/keys"):
            page.goto(f"{server.url.removesuffix('/v1')}/console{path}")
            expect(page.locator("h1")).to_have_count(1)
            can_be_read(page, axe)
            page.set_viewport_size(DESK)  # type: ignore[arg-type]
        page.close()
    assert complaints == []


def test_the_report_can_be_read_too(browser: Browser, site: Site, axe: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    command = ("report", "--data", str(site.server.data), "--format", "html", "--output", str(file))
    assert run_cli(*command).wait(60) == 0
    page = browser.new_page(viewport=DESK)  # type: ignore[arg-type]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    can_be_read(page, axe)
    assert asked == [file.as_uri()]
    page.close()


def can_be_read(page: Page, axe: str) -> None:
    """Light and dark, and on a phone."""
    for summary in page.locator("summary").all():
        summary.click()
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.evaluate(axe)
    assert grave(page, "{}") == []
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    # All else is the same in the dark.
    assert grave(page, "{runOnly: ['color-contrast']}") == []
    # A phone is scrolled down, never sideways.
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def grave(page: Page, options: str) -> list[tuple[str, str]]:
    """Rules of axe-core that a page breaks seriously, each with an element that does."""
    found = page.evaluate(f"axe.run({options}).then((found) => found.violations)")
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    return [(each["id"], each["nodes"][0]["html"][:200]) for each in serious]


def test_the_sign_in_page_can_be_read_too(browser: Browser, site: Site, axe: str) -> None:
    page = browser.new_page(viewport=PHONE)  # type: ignore[arg-type]
    page.goto(site.url)
    page.get_by_label("Admin key").fill("sk-protege-wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Incorrect API key provided.")
    page.evaluate(axe)
    assert grave(page, "{}") == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.close()


def test_the_overview(page: Page, site: Site) -> None:
    store = site.server.store()
    period = Period.of("30d")
    found = sums(store.engine, period.since, period.until)
    store.close()
    whole, likely = Total.of(found), saved(found[0], 0.95)
    assert likely is not None
    assert likely.low < likely.high
    page.goto(site.url)
    low, high = (words.usd(usd * PICO) for usd in (likely.low, likely.high))
    expect(page.get_by_text(f"by audits {low} to {high}, 95% confidence")).to_be_visible()
    cards = page.locator(".cards .big")
    assert whole.audits > 100
    expect(cards).to_have_text(
        [
            words.usd(whole.saved),
            words.usd(whole.spent),
            words.share(whole.student_share),
            words.share(1 - whole.disagreements / whole.audits),
        ]
    )
    expect(page.get_by_text("product-copy has no student")).to_be_visible()
    # Its student is on its way.
    expect(page.get_by_text("invoice-fields has no student")).to_have_count(0)
    expect(page.get_by_role("img", name="Spent, by who answered")).to_be_visible()
    assert page.locator("svg rect.student").count() > 10
    page.get_by_role("link", name="7 days").click()
    expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")
    page.get_by_text("Figures as a table").first.click()
    expect(page.locator("figure").first.locator("tbody tr")).to_have_count(7)


def test_a_replay_is_never_taken_for_a_teacher(page: Page, site: Site) -> None:
    page.goto(site.url)
    expect(page.get_by_text("answers of the demo replay")).to_be_visible()
    models = page.get_by_role("region", name="Models")
    expect(models.get_by_role("row", name="demo replay of gpt-5.4")).to_be_visible()
    expect(models.get_by_role("row", name=re.compile("^gpt-5.4"))).to_be_visible()
    page.goto(f"{site.url}/exchange?id=req_replayed")
    expect(page.locator(".talk .answer")).to_contain_text("demo replay of gpt-5.4")


def test_figures_are_live(page: Page, site: Site) -> None:
    page.goto(site.url)
    live = page.get_by_role("region", name="Live")
    requests = live.locator("[data-figure=requests]")
    expect(requests).not_to_have_text("–")
    before = int(requests.inner_text())
    with site.server.client(api_key=site.plain) as client:
        # More than there were: those leave the minute meanwhile.
        for _ in range(before + 1):
            client.chat.completions.create(
                model="teacher",
                messages=[{"role": "user", "content": "the cat waits"}],
                metadata={"task": "live"},
            )
    assert eventually(lambda: int(requests.inner_text()) > before)


def test_a_task(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/tasks")
    page.get_by_role("link", name="Agree").click()
    expect(page.locator("th[aria-sort]")).to_have_text("Agree")
    page.get_by_role("link", name="support-triage", exact=True).click()
    expect(page.get_by_role("img", name=re.compile("Cost of 1,000 requests"))).to_be_visible()
    expect(page.locator("circle.operating")).to_have_count(1)
    expect(page.locator(".ladder li")).to_have_count(3)
    expect(page.locator(".ladder li").nth(1)).to_contain_text("n-grams and sentence encoder")
    slices = page.get_by_role("region", name="Slices").get_by_role("row")
    expect(slices.filter(has_text="long tail")).to_contain_text("broken")
    disagreement = page.locator(".disagreements li").first
    sides = disagreement.locator(".sides p").all_inner_texts()
    assert len(set(sides)) == 2
    disagreement.get_by_role("link").click()
    expect(page.locator(".talk .answer")).to_have_text([re.compile(side) for side in sides])
    expect(page.get_by_role("cell", name="0.8400")).to_be_visible()


def test_a_student_on_its_way_is_seen_where_its_task_is(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/tasks")
    row = page.get_by_role("row").filter(has_text="invoice-fields")
    row.get_by_role("link", name="canary").click()
    expect(page.locator("h1")).to_have_text(COMING)
    page.get_by_role("link", name="invoice-fields", exact=True).first.click()
    ladder = page.locator("section").filter(has=page.get_by_role("heading", name="Ladder"))
    expect(ladder).to_contain_text(f"On its way into service: {COMING} canary")
    expect(ladder).to_contain_text("answers everything")
    expect(ladder).not_to_contain_text("No student")
    expect(page.get_by_role("region", name="Slices")).to_contain_text("long tail")


def test_students_are_promoted_and_rolled_back(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/students")
    page.get_by_role("link", name=REPLACED).click()
    expect(page.get_by_text("replaced by")).to_be_visible()
    page.get_by_text("Promote…").click()
    page.get_by_label("Why").fill("it was fine")
    page.get_by_role("button", name=f"Promote {REPLACED}").click()
    expect(page.get_by_role("status")).to_have_text("The student serves its task now.")
    assert serving(site) == REPLACED
    expect(page.get_by_text("it was fine (boss)")).to_be_visible()
    # What the server itself does follows.
    assert eventually(lambda: answers_as(site) == REPLACED)
    page.get_by_text("Roll back…").click()
    page.get_by_role("button", name=f"Roll back {REPLACED}").click()
    expect(page.get_by_role("status")).to_have_text("The student is out of service.")
    assert serving(site) == SERVING


def test_a_student_that_no_test_speaks_for_needs_a_tick(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/student?version={UNTESTED}")
    page.get_by_text("Promote…").click()
    button = page.get_by_role("button", name=f"Promote {UNTESTED}")
    button.click()
    # The browser asks for the tick; the server would too.
    expect(page.get_by_role("status")).to_have_count(0)
    page.evaluate("document.querySelector('[name=force]').required = false")
    button.click()
    expect(page.get_by_role("alert")).to_contain_text("has not passed the gate")


def test_exchanges_are_found(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/exchanges")
    rows = page.locator("table.exchanges tbody tr")
    expect(rows).to_have_count(50)
    first = rows.first.get_by_role("link").get_attribute("href")
    page.get_by_role("link", name="Older").click()
    expect(rows).to_have_count(50)
    assert rows.first.get_by_role("link").get_attribute("href") != first
    page.get_by_label("Outcome").select_option("disagreed")
    page.get_by_label("Task").fill("support-triage")
    page.get_by_role("button", name="Find").click()
    expect(rows.first).to_contain_text("✗ disagrees")
    assert 0 < rows.count() < 20
    page.get_by_label("Task").fill("")
    page.get_by_label("Outcome").select_option("")
    page.get_by_label("Text").fill("WOOL blanket")
    page.get_by_role("button", name="Find").click()
    expect(rows.first).to_contain_text("Wool blanket")
    expect(page.get_by_label("Text")).to_have_value("WOOL blanket")


def test_feedback(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/exchange?id=req_support-triage-5-0")
    page.get_by_label("bad").check()
    page.get_by_label("The right answer").fill("returns <b>")
    page.get_by_role("button", name="Give feedback").click()
    expect(page.get_by_role("status")).to_contain_text("Thank you")
    exchange = site.server.exchange("req_support-triage-5-0")
    assert (exchange.score, exchange.right_answer, exchange.comment) == (0.0, "returns <b>", None)
    expect(page.locator(".talk .judged")).to_contain_text("returns <b>")
    # A comment does not take the answer back.
    page.get_by_label("Comment").fill("late")
    page.get_by_role("button", name="Give feedback").click()
    expect(page.get_by_text("Said before: late")).to_be_visible()
    exchange = site.server.exchange("req_support-triage-5-0")
    assert (exchange.score, exchange.right_answer, exchange.comment) == (0.0, "returns <b>", "late")


def test_a_right_answer_of_several_lines_stays_as_it_was_typed(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/exchange?id=req_support-triage-5-1")
    page.get_by_label("The right answer").fill("returns\nurgent")
    page.get_by_role("button", name="Give feedback").click()
    expect(page.get_by_role("status")).to_contain_text("Thank you")
    assert site.server.exchange("req_support-triage-5-1").right_answer == "returns\nurgent"


def test_keys_are_made_and_revoked(page: Page, site: Site, axe: str) -> None:
    page.goto(f"{site.url}/keys")
    page.get_by_label("Name").fill("browser's")
    page.get_by_label("Budget, USD").fill("nothing")
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_role("alert")).to_have_text("budget: expected a number")
    expect(page.get_by_label("Name")).to_have_value("browser's")
    page.get_by_label("Budget, USD").fill("12.50")
    page.get_by_label("in a", exact=False).select_option("week")
    page.get_by_label("Tasks").fill("live, triage")
    page.get_by_role("button", name="Make the key").click()
    secret = page.locator(".secret").inner_text()
    row = page.get_by_role("row").filter(has_text="browser's")
    expect(row).to_contain_text("$0 of $12.50 a week")
    expect(row).to_contain_text("tasks live, triage")
    with site.server.client(api_key=secret) as client:
        assert client.models.list().data
    page.goto(f"{site.url}/keys")
    assert secret not in page.content()
    changes_and_rotates(page, site, secret)
    page.evaluate(axe)
    assert grave(page, "{}") == []
    page.goto(f"{site.url}/keys")
    row.get_by_text("Revoke…").click()
    row.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("revoked")
    expect(row).to_contain_text("revoked")


def changes_and_rotates(page: Page, site: Site, secret: str) -> None:
    """What can be done on the page of a key that was just made."""
    page.get_by_role("link", name="browser's").click()
    expect(page.get_by_label("Budget, USD")).to_have_value("12.5")
    expect(page.get_by_label("Tasks")).to_have_value("live, triage")
    page.get_by_label("Budget, USD").fill("no more")
    page.get_by_role("button", name="Change the key").click()
    expect(page.get_by_role("alert")).to_have_text("budget: expected a number")
    page.get_by_label("Budget, USD").fill("20")
    page.get_by_label("Requests a minute").fill("60")
    page.get_by_label("Ends, UTC").fill("2040-01-02T03:04")
    page.get_by_role("button", name="Change the key").click()
    expect(page.get_by_role("status")).to_have_text("The key is changed.")
    expect(page.locator("main")).to_contain_text("$0 of $20.00 a week")
    expect(page.locator("main")).to_contain_text("until 2040-01-02 03:04:00 UTC")
    expect(page.get_by_label("Requests a minute")).to_have_value("60")
    for ends, still in (("in an hour", True), ("at once", False)):
        page.get_by_text("Make a new secret…").click()
        page.get_by_label("The present one ends").select_option(label=ends)
        page.get_by_role("button", name="Make a new secret").click()
        new = page.locator(".secret").inner_text()
        for each, works in ((new, True), (secret, still)):
            answer = httpx.get(
                f"{site.root}/v1/models", headers={"authorization": f"Bearer {each}"}
            )
            assert (answer.status_code == 200) == works
        secret = new


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/tasks",
        "/exchanges",
        "/exchange?id=req_hostile",
        "/students",
        "/keys",
        "/exchanges?text=%3Cscript%3Edocument.title%3D%27owned%27%3C%2Fscript%3E",
        "/student?version=%3Cscript%3Edocument.title%3D%27owned%27%3C%2Fscript%3E",
        "/sign-in?next=%22%3E%3Cscript%3Edocument.title%3D%27owned%27%3C%2Fscript%3E",
    ],
)
def test_markup_of_callers_stays_text(page: Page, site: Site, path: str) -> None:
    page.goto(site.url + path)
    assert page.title() != "owned"
    assert "Protege" in page.title()
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1


def test_a_hostile_task_has_its_page(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/tasks")
    page.get_by_role("link", name="task <script>").click()
    expect(page.locator("h1")).to_have_text(HOSTILE)
    expect(page.locator(".sides p").first).to_have_text(CANARY)
    page.get_by_role("link", name="All exchanges of this task").click()
    expect(page.locator("table.exchanges tbody tr")).to_have_count(1)


def test_the_theme_is_chosen_and_kept(page: Page, site: Site) -> None:
    def background() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    page.emulate_media(color_scheme="light")
    page.goto(site.url)
    light = background()
    page.get_by_role("button", name="Theme: system").click()
    page.get_by_role("button", name="Theme: light").click()
    dark = background()
    assert dark != light
    page.goto(f"{site.url}/tasks")
    assert background() == dark
    page.get_by_role("button", name="Theme: dark").click()
    assert background() == light
    page.emulate_media(color_scheme="dark")
    assert background() == dark


def test_the_keyboard_is_enough(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
    page.keyboard.press("Enter")
    expect(page.locator("figure details[open]")).to_have_count(1)


def test_without_script_all_but_the_live_figures_is_there(
    browser: Browser, site: Site, session: Any
) -> None:
    context = browser.new_context(storage_state=session, java_script_enabled=False)
    page = context.new_page()
    page.goto(site.url)
    expect(page.get_by_role("heading", name="Dearest tasks")).to_be_visible()
    expect(page.get_by_role("region", name="Live")).to_be_hidden()
    page.get_by_role("link", name="Exchanges", exact=True).click()
    expect(page.locator("table.exchanges tbody tr")).to_have_count(50)
    context.close()


def serving(site: Site) -> str | None:
    """Version of the student that serves support-triage, as the store has it."""
    store = site.server.store()
    versions = [each.version for each in store.roster.serving() if each.task == "support-triage"]
    store.close()
    return versions[0] if versions else None


def answers_as(site: Site) -> str | None:
    """Version of the student that answers."""
    with site.server.client(api_key=site.plain) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="student",
            messages=[{"role": "user", "content": "the cat sleeps at home"}],
            metadata={"task": "support-triage"},
        )
    return raw.headers.get("x-protege-model")
