"""`report.html` says what a run's files say, and a stranger's text stays text."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from visunex.demo.server import serve
from visunex.demo.world import World, metadata_bytes
from visunex.images import thumbnails as thumbnails_module
from visunex.pipeline.cli import main
from visunex.pipeline.report import reported, write_page
from visunex.pipeline.rundir import RunDir

EVIL = "<script>document.title='owned'</script>'\"&{{ 7 * 7 }}\u202e flower"


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run of the demo world, one caption of which is hostile, and one link no address of the web."""
    folder = tmp_path_factory.mktemp("made")
    world = World(rows=400)
    with serve(0, world) as address:
        rows = pl.read_parquet(io.BytesIO(metadata_bytes(address, world)))
        caption = pl.col(next(name for name in rows.columns if name.lower() in ("text", "caption")))
        hostile = pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit(EVIL)).otherwise(caption)
        rows.with_columns(hostile.alias(caption.meta.output_name())).write_parquet(folder / "m.parquet")
        command("filter", folder / "m.parquet", "--keywords", "flower", "--top", "60", run=folder / "run")
        command("download", "--allow-private", "--processes", "1", run=folder / "run")
        command("encode", "--model", "visunex-tiny", run=folder / "run")
    return RunDir(folder / "run")


def command(name: str, *arguments: object, run: Path | None = None) -> Result:
    given = [name, *map(str, arguments), *(["--run", str(run)] if run else [])]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 0, result.output
    return result


def headings(page: str) -> list[str]:
    return re.findall("<h2[^>]*>(.*)</h2>", page)


def test_what_stages_reported_is_there_as_a_person_writes_it(run: RunDir) -> None:
    run.record("filter", {"rows": 12345, "dropped": {"no keyword": 7, "score": 1}, "reused": False})
    run.record(
        "encode", {"images": 2, "model": "<ViT>", "seconds": 63790.4, "notes": ["a", "b"], "none": None}
    )
    write_page(run)
    page = run.report_page.read_text()
    assert headings(page) == ["From rows to pictures", "Why rows were left out"]
    for shown in ("12,345", "no keyword 7, score 1", "&lt;ViT&gt;", "63,790", "a; b", "–", ">no<"):
        assert shown in page
    assert re.findall(r'div style="width:([\d.]+)%', page)[-2:] == ["100.0", "14.3"]
    assert "e+0" not in page


def test_whatever_strangers_wrote_is_text(run: RunDir) -> None:
    """Keys, values, stages and the run's name may all come from outside."""
    run.record(EVIL, {EVIL: {EVIL: EVIL, "list": [EVIL], "table": {EVIL: 3}, "deep": {"a": {EVIL: EVIL}}}})
    run.record("download", {"classes": {EVIL: 3}})
    write_page(run)
    page = run.report_page.read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 10
    assert "{{ 7 * 7 }}" in page
    assert "\u202e" not in page


def test_the_page_of_a_whole_run(made: RunDir) -> None:
    page = made.report_page.read_text()
    assert headings(page)[:4] == ["From rows to pictures", "Contact sheet", "Most typical", "Least typical"]
    assert {"Groups", "Scores", "How soon the mean settles", "To use it", "What became of the links"} < {
        *headings(page)
    }
    assert "The best 60 of" in page
    assert "captions say “flower”" in page
    assert len(page) < 1_000_000
    sizes = {
        Image.open(io.BytesIO(base64.b64decode(each))).size for each in re.findall(r"base64,([^\"]+)", page)
    }
    assert max(max(size) for size in sizes) <= 160
    keys = pl.read_parquet(made.downloaded).filter(pl.col("chosen"))["key"].to_list()
    groups = pl.read_parquet(made.groups)
    assert sorted(groups["key"].to_list()) == sorted(keys)
    assert re.findall(r"<h3>Group (\d)</h3>", page) == [
        str(each) for each in sorted(groups["group"].unique())
    ]


def nearest_words_of(page: str) -> list[str]:
    return re.findall(r"Nearest words: <b>(.*?)</b>", page)


def test_groups_have_the_words_that_the_model_found(made: RunDir, tmp_path: Path) -> None:
    """By encode, which has the model; never those of other groups than the page shows."""
    noted = made.reports()["encode"]["groups"]
    assert sum(each["images"] for each in noted) == 60
    told = [", ".join(word["word"] for word in each["words"]) for each in noted]
    assert nearest_words_of(made.report_page.read_text()) == told
    assert len(set(told)) > 1
    run = RunDir(shutil.copytree(made.path, tmp_path / "run"))
    pl.read_parquet(run.groups).with_columns(pl.lit(0).alias("group")).write_parquet(run.groups)
    write_page(run)
    assert nearest_words_of(run.report_page.read_text()) == []


def test_nothing_of_the_page_needs_a_network_or_a_script(made: RunDir) -> None:
    page = html.unescape(made.report_page.read_text())
    assert not re.findall(
        r"<(?:script|link|iframe|object|embed)\b", page.replace(EVIL.replace("\u202e", "�"), "")
    )
    sources = set(re.findall(r'src="([^:"]*:?)', page))
    assert sources == {"data:"}
    links = set(re.findall(r'href="([^"]+)"', page))
    inside = {link[1:] for link in links if link.startswith("#")}
    assert {"s1", "groups", "plots", "tables", "use"} <= inside <= set(re.findall(r'id="([^"]+)"', page))
    links = {link for link in links if not link.startswith("#")}
    assert all(link.startswith("http://127.0.0.1") or (made.path / link).exists() for link in links)


def browse(profile: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Debian's Chromium without a screen."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--v=0"]
    options += ["--enable-logging=stderr", f"--user-data-dir={profile}", *arguments]
    return subprocess.run(["chromium", *options], capture_output=True, text=True, timeout=120, check=False)


def browser_is_missing(folder: Path) -> str:
    """Why no page can be looked at here; nothing where one can."""
    if shutil.which("chromium") is None:
        return "no chromium here (Debian's package of that name)"
    try:
        shown = browse(folder / "try", "--dump-dom", "data:text/html,<title>it works</title>").stdout
    except subprocess.TimeoutExpired:
        shown = ""
    return "" if "it works" in shown else "chromium is here and cannot show a page"


def test_a_browser_shows_it_and_runs_nothing_of_a_caption(made: RunDir, tmp_path: Path) -> None:
    """A caption is a script; the page's title would say so had it run."""
    if why := browser_is_missing(tmp_path):
        pytest.skip(why)
    profile, page = tmp_path / "profile", made.report_page.as_uri()
    for width in (400, 1600):
        shot = tmp_path / f"{width}.png"
        done = browse(profile, f"--window-size={width},1200", f"--screenshot={shot}", page)
        assert "CONSOLE" not in done.stderr
        with Image.open(shot) as image:
            assert image.size == (width, 1200)
            assert len(image.convert("RGB").getcolors(2**24) or ()) > 500, "pictures are seen"
    assert "<title>run</title>" in browse(profile, "--dump-dom", page).stdout


def test_pictures_that_were_discarded_are_still_seen(made: RunDir, tmp_path: Path) -> None:
    shutil.copytree(made.path, tmp_path / "run")
    run = RunDir(tmp_path / "run")
    shutil.rmtree(run.thumbnails)
    recipe = run.recipe.read_text().replace("discard_images = false", "discard_images = true")
    run.recipe.write_text(recipe)
    command("encode", run=run.path)
    assert not list(run.shards.glob("*.tar"))
    before, after = (made.report_page.read_text(), run.report_page.read_text())
    assert after.count("data:image/webp") == before.count("data:image/webp") > 60
    assert "no picture" not in after


def test_the_same_files_are_the_same_page(made: RunDir) -> None:
    before = made.report_page.read_bytes()
    write_page(made)
    assert made.report_page.read_bytes() == before


@pytest.mark.parametrize("name", ["recipe.toml", "embedding.json", "downloaded.parquet", "embedding.pt"])
def test_a_damaged_file_costs_its_own_part_of_the_page(made: RunDir, tmp_path: Path, name: str) -> None:
    shutil.copytree(made.path, tmp_path / "run")
    for damage in (b"", b"\x00\xff" * 50, b"[]"):
        (tmp_path / "run" / name).write_bytes(damage)
        write_page(RunDir(tmp_path / "run"))
        assert "From rows to pictures" in (tmp_path / "run" / "report.html").read_text()


def test_the_page_follows_what_a_block_records_also_when_it_fails(run: RunDir) -> None:
    with reported(run):
        pass
    assert not run.report_page.exists()  # nothing was done
    with pytest.raises(ZeroDivisionError), reported(run):
        run.record("filter", {"rows": 3})
        raise ZeroDivisionError
    first = run.report_page.stat()
    assert "<td>3</td>" in run.report_page.read_text()
    with reported(run):  # as it was: the page is left alone
        pass
    assert run.report_page.stat() == first
    run.report_page.unlink()
    with reported(run):
        pass
    assert run.report_page.exists()


def test_a_page_that_cannot_be_written_does_not_hide_why_the_stage_failed(run: RunDir) -> None:
    run.report_page.mkdir(parents=True)
    with pytest.raises(ZeroDivisionError), reported(run):
        run.record("filter", {"rows": 3})
        raise ZeroDivisionError
    with pytest.raises(OSError, match=r"report\.html"), reported(run):
        run.record("filter", {"rows": 4})


def test_show_makes_the_page_anew_and_sheets_of_anything(made: RunDir, tmp_path: Path) -> None:
    made.report_page.unlink()
    assert command("show", made.path).output.strip() == str(made.report_page)
    assert made.report_page.exists()
    command("show", made.path, "--sheet", tmp_path / "best.png", "--top", "6", "--columns", "3")
    with Image.open(tmp_path / "best.png") as image:
        assert image.size == (3 * 166 + 6, 2 * 166 + 6)
    said = command("show", made.shards, "--sheet", tmp_path / "all.webp", "--json").output
    assert json.loads(said)["pictures"] >= 60
    for arguments, why in (
        ((tmp_path / "nowhere",), "is no run: there is no such folder"),
        ((made.shards,), "add --sheet FILE.webp"),
        ((made.path, "--sheet", tmp_path / "a.bmp"), "name a .png, .webp or .jpg"),
    ):
        result = CliRunner().invoke(main, ["show", *map(str, arguments)])
        assert result.exit_code == 2
        assert why in result.output


def test_a_sheet_that_its_format_cannot_hold_is_refused(
    made: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(thumbnails_module._LONGEST, "WEBP", 700)
    asked = ["show", made.path, "--sheet", tmp_path / "a.webp", "--top", 20, "--columns", 2]
    result = CliRunner().invoke(main, [*map(str, asked)])
    assert result.exit_code == 2
    assert "338x1666 pixels are more than a .webp holds; give other --columns" in result.output


def test_a_damaged_choice_and_thumbnails_cost_their_own_part(made: RunDir, tmp_path: Path) -> None:
    shutil.copytree(made.path, tmp_path / "run")
    run = RunDir(tmp_path / "run")
    for file in run.thumbnails.glob("*.parquet"):
        table = pl.read_parquet(file).with_columns(webp=pl.lit(b"RIFF....WEBPVP8 no picture"))
        metadata = pl.read_parquet_metadata(file)
        table.write_parquet(file, metadata={name: metadata[name] for name in metadata if name == "visunex"})
    run.choice.write_bytes(b"PAR1 damaged")
    write_page(run)
    assert "Most typical" in run.report_page.read_text()


def test_captions_and_links_without_end_do_not_fill_the_page(made: RunDir, tmp_path: Path) -> None:
    """Nor are addresses of other kinds followed; what is written from right to left keeps its direction."""
    run = RunDir(shutil.copytree(made.path, tmp_path / "run"))
    arabic = "وردة حمراء في الحديقة"
    for file in run.vectors.glob("metadata/*.parquet"):
        rows, metadata = pl.read_parquet(file), pl.read_parquet_metadata(file)
        links = ["javascript:alert(1)", "http://long.example/" + "a" * 9000, "http://fine.example/"]
        captions = ["flower " * 50_000, arabic]
        table = rows.with_columns(
            caption=pl.Series([captions[row % 2] for row in range(len(rows))]),
            url=pl.Series([links[row % 3] for row in range(len(rows))]),
        )
        table.write_parquet(file, metadata={name: metadata[name] for name in metadata if name == "visunex"})
    write_page(run)
    page = run.report_page.read_text()
    assert len(page) < 2_000_000
    assert f'<span dir="auto">{arabic}</span>' in page
    assert set(re.findall(r'href="(https?:[^"]*)', page)) == {"http://fine.example/"}
    assert "javascript:" not in page
