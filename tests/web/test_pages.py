"""The pages in a real browser (Debian's Chromium) against a live cluster: what a person does, with a mouse, a keyboard and a
screen reader's eyes (axe), in light and dark, on a phone and on a wide screen."""
import csv
import io
import json
import pathlib
import shutil
import sys

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cluster"))
import cluster as clusters  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "deploy/local/sample/threads.csv"
MODELS = [f"file://{ROOT}/deploy/local/models/{name}" for name in ("toy-bart", "toy-t5")]
VIEWS = ["/experiments", "/experiments/new", "/experiments/{experiment}", "/experiments/compare?ids={both}&sample=1", "/datasets", "/datasets/{dataset}",
         "/jobs", "/jobs/{experiment}", "/deployments", "/cluster", "/settings"]


@pytest.fixture(scope="module")
def live():
    """A cluster with two finished experiments of six samples."""
    shared = clusters.Cluster(workers=2)
    shared.ids = {"dataset": shared.upload(SAMPLES.read_text(), "threads.csv").json()["id"]}
    experiments = [shared.submit(shared.ids["dataset"], model, max_samples=6, name=model.split("/")[-1]) for model in MODELS]
    for experiment in experiments:
        assert shared.wait_done(experiment)["status"] == "succeeded"
    shared.ids |= {"experiment": experiments[0], "both": ",".join(experiments)}
    yield shared
    shared.close()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    yield page
    context.close()
    assert not wrong, wrong


def visit(page, live, view):
    page.goto("about:blank")
    page.goto(f"{live.url}/#{view.format(**live.ids)}")
    page.wait_for_load_state("networkidle")


def test_a_person_uploads_a_file_and_compares_two_models(page, live, tmp_path):
    rows = list(csv.reader(io.StringIO(SAMPLES.read_text())))[:4]
    file = tmp_path / "my mails.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows(rows)
    visit(page, live, "/datasets")
    page.set_input_files("#dataset-file", file)
    expect(page.get_by_role("status").filter(has_text="my mails.csv is stored.")).to_be_visible()
    page.get_by_role("row", name="my mails.csv").get_by_role("link", name="Try models").click()
    expect(page.get_by_label("Dataset")).to_contain_text("my mails.csv")
    page.get_by_label("More models, one a line").fill("\n".join(MODELS))
    page.get_by_label("Name", exact=True).fill("mine")
    page.get_by_role("button", name="Run").click()
    for model in ("toy-bart", "toy-t5"):
        row = page.get_by_role("row", name=f"mine ({model})")
        expect(row).to_contain_text("succeeded")
        row.get_by_role("checkbox").check()
    page.get_by_role("button", name="Compare the chosen").click()
    expect(page.get_by_role("img", name="Means with 95% intervals")).to_be_visible()
    expect(page.locator(".verdict")).to_contain_text("By ")
    expect(page.locator("table").first).to_contain_text("mine (toy-t5)")


def test_a_file_without_examples_is_refused_with_the_reason(page, live, tmp_path):
    file = tmp_path / "wrong.csv"
    file.write_text("text\nhello\n")
    visit(page, live, "/datasets")
    page.set_input_files("#dataset-file", file)
    expect(page.get_by_role("alert")).to_contain_text("wrong.csv: ")
    expect(page.get_by_role("alert")).to_contain_text("examples")


def test_samples_are_ordered_searched_and_the_address_keeps_it(page, live):
    visit(page, live, "/experiments/{experiment}")
    page.get_by_label("Order by").select_option("rouge1")
    page.get_by_label("Direction").select_option("1")
    cells = page.locator("#view table").last.locator("tbody tr td:nth-child(4)")
    best = live.get(f"/jobs/{live.ids['experiment']}/samples?order_by=rouge1&descending=true").json()["items"]
    scores = [item["scores"]["rouge1"] for item in best]
    assert scores == sorted(scores, reverse=True) and len(scores) == 6
    expect(page.locator("#view table").last.locator("tbody tr td").first).to_have_text(str(best[0]["index"]))
    address = page.url
    assert "order=rouge1" in address and "down=1" in address
    page.goto("about:blank")
    page.goto(address)
    expect(page.locator("#view table").last.locator("tbody tr td").first).to_have_text(str(best[0]["index"]))
    first = best[0]
    page.locator("#view table").last.locator("summary").first.click()
    expect(page.get_by_role("heading", name="Ground truth")).to_be_visible()
    expect(page.locator(".sample .text").nth(1)).to_have_text(first["ground_truth"])
    page.get_by_label("Search the texts").fill("certainly not in any mail")
    page.get_by_label("Search the texts").press("Tab")
    expect(page.get_by_text("No sample has that.")).to_be_visible()
    assert cells.count() == 0


def test_every_view_exports_what_it_shows(page, live):
    visit(page, live, "/experiments/compare?ids={both}")
    with page.expect_download() as got:
        page.get_by_role("button", name="JSON").click()
    document = json.loads(pathlib.Path(got.value.path()).read_text())
    assert {e["id"] for e in document["experiments"]} == set(live.ids["both"].split(","))
    with page.expect_download() as got:
        page.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(pathlib.Path(got.value.path()).read_text())))
    assert {row["metric"] for row in rows} >= {"rouge1", "meteor"} and all(float(r["low"]) <= float(r["mean"]) <= float(r["high"]) for r in rows)
    with page.expect_download() as got:
        page.get_by_role("button", name="PNG of Means with 95% intervals").click()
    assert pathlib.Path(got.value.path()).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_keyboard_alone_skips_the_menu_and_drains_a_worker(page, live):
    visit(page, live, "/cluster")
    page.locator(".skip").focus()
    expect(page.locator(".skip")).to_be_in_viewport()
    drain = page.get_by_role("button", name="Drain").first
    drain.focus()
    name = drain.get_attribute("aria-label")
    page.keyboard.press("Enter")
    resume = page.get_by_role("button", name=name.replace("Drain", "Resume"))
    expect(resume).to_be_visible()
    resume.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=name)).to_be_visible()


def test_a_token_is_asked_for_where_one_is_needed(page):
    with_tokens = clusters.Cluster(start=False)
    try:
        with_tokens.postgres.start()
        with_tokens.start_coordinator("--auth", "on")
        page.goto(with_tokens.url + "/#/datasets")
        dialog = page.get_by_role("dialog", name="A token is needed")
        expect(dialog).to_be_visible()
        page.get_by_role("textbox", name="Token").fill((with_tokens.folder / "data/admin.token").read_text().strip())
        page.keyboard.press("Enter")
        expect(page.get_by_text("There is none yet: drop a file above.")).to_be_visible()
    finally:
        with_tokens.close()


@pytest.mark.parametrize("scheme,width", [("light", 1280), ("dark", 360)])
def test_every_view_is_accessible_and_fits(browser, live, scheme, width):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    for view in VIEWS:
        visit(page, live, view)
        expect(page.locator("h1")).to_be_visible()
        wrong = [(v["id"], v["nodes"][0]["html"]) for v in Axe().run(page).response["violations"]]
        assert not wrong, (view, wrong)
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), f"{view} scrolls sideways at {width} px"
    page.close()


def test_the_first_load_is_small_and_compressed(page, live):
    sizes = {}
    page.on("response", lambda r: sizes.update({r.url: int(r.headers.get("content-length", 0))}) if "/api/" not in r.url else None)
    visit(page, live, "/experiments")
    assert any(url.endswith("/static/chart.js") for url in sizes)
    assert sum(sizes.values()) < 300_000, sizes
