"""The studio in a real browser: nothing leaves the page, and what a person does on it is done."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from visunex.aesthetic_embeddings import load
from visunex.demo.world import World

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

SECONDS = 60_000  # ms that a busy machine may take; none of it is waited for where it is there


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("there is no chromium here to show a page")
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as driver:
        try:
            found = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"chromium cannot show a page here: {str(error).splitlines()[0]}")
        yield found
        found.close()


@pytest.fixture(scope="module")
def studio(worked_in: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a studio, and the folder in which it was started."""
    folder = tmp_path_factory.mktemp("browser")
    shutil.copytree(worked_in / "runs", folder / "runs")
    command = [
        sys.executable,
        "-m",
        "visunex.studio",
        "--port",
        "0",
        "--no-browser",
        "--model",
        "visunex-tiny",
    ]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[2], folder
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()


@dataclass
class Watched:
    """A page, and what it did that it should not."""

    page: "Page"
    address: str
    left: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@pytest.fixture(params=[1600, 400], ids=["wide", "narrow"])
def watched(
    browser: "Browser", studio: tuple[str, Path], request: pytest.FixtureRequest
) -> Iterator[Watched]:
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    page.set_default_timeout(SECONDS)
    found = Watched(page, studio[0])
    ours = (f"{studio[0]}/", "data:", "blob:")
    page.on("request", lambda it: None if it.url.startswith(ours) else found.left.append(it.url))
    page.on("console", lambda it: found.errors.append(it.text) if it.type == "error" else None)
    page.on("pageerror", lambda it: found.errors.append(str(it)))
    page.goto(studio[0])
    yield found
    assert found.left == []
    assert found.errors == []
    assert page.evaluate("document.documentElement.scrollWidth") <= request.param
    assert page.title() == "VisuNex studio"
    page.close()


def left_out(page: "Page", shot: "Locator") -> None:
    """Click a picture until it is out: a page that has just appeared may not listen yet."""
    for _ in range(60):
        shot.click()
        page.wait_for_timeout(500)
        if "out" in str(shot.get_attribute("class")).split():
            return
    raise AssertionError("clicks on a picture do nothing")


def test_a_taste_is_curated_by_clicking(watched: Watched, studio: tuple[str, Path]) -> None:
    page, name = watched.page, f"mine_{watched.page.viewport_size['width']}"  # type: ignore[index]
    page.click("[data-open=garden]")
    page.wait_for_selector("[data-key]")
    page.wait_for_selector("#standing .vx-words")
    assert "60 of 60" in page.inner_text("#standing")
    assert page.locator('[data-key][title^="<script>"]').count() == 1
    shots = page.locator("[data-key]")
    dropped = [str(shots.nth(place).get_attribute("data-key")) for place in (0, 2)]
    for place in (0, 2):
        left_out(page, shots.nth(place))
    page.wait_for_function("document.querySelector('#standing').innerText.includes('58 of 60')")
    page.fill("#save_as textarea, #save_as input", name)
    page.click("#save")
    page.wait_for_selector("#saved .vx-said")
    noted = load(studio[1] / "tastes" / f"{name}.pt").provenance or {}
    assert sorted(noted["curated"]["dropped_keys"]) == sorted(dropped)
    assert "--drop" in page.inner_text("#curate_command >> visible=true")
    page.click("#back")
    page.wait_for_selector(f'[data-open="tastes/{name}.pt"]')


def test_an_open_taste_is_taken_along_for_other_programs(watched: Watched, studio: tuple[str, Path]) -> None:
    page = watched.page
    page.click("[data-open=garden]")
    page.wait_for_selector("[data-key]")
    page.click("#export_run >> text=For other programs")
    page.click("#export_run_webui")
    with page.expect_download() as download:
        page.click("#exported_run a[download]")
    assert download.value.suggested_filename == "garden-webui.pt"
    taken, own = load(download.value.path()), load(studio[1] / "runs" / "garden" / "embedding.pt")
    assert taken.vector.tobytes() == own.vector.tobytes()
    assert "visunex-export garden --to webui" in page.inner_text("#exported_run .vx-command")


def test_from_the_start_to_a_steered_picture_and_a_vote(watched: Watched, studio: tuple[str, Path]) -> None:
    page = watched.page
    page.click("[data-open=garden]")
    page.wait_for_selector("[data-key]")
    page.locator("text=Draw with it >> visible=true").click()
    page.wait_for_selector("#prompt textarea >> visible=true")
    page.fill("#prompt textarea", "a castle at night")
    page.locator("#steps input[type=number]").fill("3")
    page.click("#draw")
    page.wait_for_selector(".vx-drawn img")
    assert page.locator(".vx-drawn figcaption").all_inner_texts() == ["untouched", "3 steps"]
    assert "--sweep-steps 0,3" in page.inner_text("#drawn .vx-command")
    wide = "Array.from(document.querySelectorAll('.vx-drawn img'), each => each.naturalWidth)"
    page.wait_for_function(f"{wide}.every(Boolean)")
    page.fill("#prompt textarea", "")
    page.locator("[data-again]").first.click()
    page.wait_for_function("document.querySelector('#prompt textarea').value === 'a castle at night'")
    before = len(votes(studio[1]))
    page.locator("[role=tab]:has-text('Vote') >> visible=true").first.click()
    page.click("#vote_begin")
    page.wait_for_selector("[data-choice=left] img")
    page.click("[data-choice=left]")
    page.wait_for_function(f"document.querySelector('.vx-same').innerText.includes('{before + 1} answered')")
    assert {votes(studio[1])[-1][side]["about"]["aesthetic_steps"] for side in ("left", "right")} == {0, 3}


def votes(folder: Path) -> list[dict[str, Any]]:
    """The votes that were kept."""
    path = folder / "votes" / "votes.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_pictures_dropped_onto_the_page_become_a_taste(watched: Watched, studio: tuple[str, Path]) -> None:
    page, name = watched.page, f"dropped_{watched.page.viewport_size['width']}"  # type: ignore[index]
    files = []
    for each in World().entries[:3]:
        files.append({"name": f"{each.row}.jpg", "mimeType": "image/jpeg", "buffer": each.image_file()})
    files.append({"name": "<img src=x onerror=x>.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"})
    page.click("text=A taste from your pictures")
    page.set_input_files("#upload input[type=file]", files)  # type: ignore[arg-type]
    page.wait_for_selector("#upload [aria-label='2.jpg']")
    page.fill("#upload_name textarea, #upload_name input", name)
    page.click("#upload_make")
    page.wait_for_selector("#upload_said .vx-said")
    assert "3 pictures" in page.inner_text("#upload_said")
    page.wait_for_selector(f"[data-open={name}]")
    assert (studio[1] / "runs" / name / "embedding.pt").exists()
