"""The download stage against a hostile server, in its real worker processes."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import downloads
import hostile
import odd
import pytest

from visunex.images.errors import ImageError
from visunex.images.validate import Limits, inspect
from visunex.pipeline.download.choose import Result
from visunex.pipeline.download.report import DownloadReport
from visunex.pipeline.download.results import is_worth_a_try, read_shard
from visunex.pipeline.download.stage import download
from visunex.pipeline.errors import DownloadError, FewerImagesError, StaleRunError, UsageError
from visunex.pipeline.rundir import RunDir
from visunex.recipes import Download

TOP, LINKS = 100, 260
LEFT = ("not_attempted", "not_tried")  # when there were pictures enough
# What becomes of a behaviour once many URLs show it: the same bytes from everywhere are a placeholder.
SAME_FOR_ALL = {"placeholder": "placeholder", "gif-1000": "placeholder"}


def hostile_urls(base: str, count: int) -> list[str]:
    """Half of them good, the others with every behaviour in turn; the same order every time.

    What is the same for all comes several times at once, so that it is noticed as such among the links tried.
    """
    rng = random.Random(4)
    for_images = hostile.BEHAVIOURS.keys() - {"drip-range", "escaped"}  # for ranges, a redirect
    names, first = sorted(for_images), 3 * sorted(SAME_FOR_ALL)
    count -= len(first)
    assert len(names) <= count // 2, "some behaviours would not be tried"
    paths = [names[number // 2 % len(names)] if number % 2 else "good" for number in range(count)]
    rng.shuffle(paths)
    return [f"{base}/{name}/{number:04d}.jpg" for number, name in enumerate(first + paths)]


def expected_class(url: str) -> str | None:
    name = url.split("/")[3]
    return SAME_FOR_ALL.get(name) or hostile.EXPECTED[name]


@pytest.fixture(scope="module")
def server() -> Iterator[hostile.HostileServer]:
    with hostile.hostile() as running:
        yield running


@pytest.fixture(scope="module")
def done(
    server: hostile.HostileServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunDir, DownloadReport]:
    """URLs, half of them hostile."""
    path = tmp_path_factory.mktemp("runs") / "hostile"
    run, recipe = downloads.ready_run(
        path, hostile_urls(server.base, LINKS), TOP, max_pixels=10**7, processes=4, deadline=3.0
    )
    return run, download(run, recipe)


class TestTheWebAsItIs:
    """URLs, half of them hostile, and 100 pictures wanted."""

    def test_the_target_is_reached_exactly(self, done: tuple[RunDir, DownloadReport]) -> None:
        run, report = done
        assert (report.chosen, len(downloads.chosen(run))) == (TOP, TOP)

    def test_the_chosen_are_the_best_of_those_that_can_be_had(
        self, done: tuple[RunDir, DownloadReport]
    ) -> None:
        run, _ = done
        urls = [row["url"] for row in downloads.rows(run)]
        assert downloads.chosen(run) == [url for url in urls if expected_class(url) is None][:TOP]

    def test_every_url_is_in_its_class(self, done: tuple[RunDir, DownloadReport]) -> None:
        run, _ = done
        attempted = [row for row in downloads.rows(run) if row["status"] not in LEFT]
        wrong = [row for row in attempted if row["error_class"] != expected_class(row["url"])]
        assert wrong == []

    def test_the_classes_add_up(self, done: tuple[RunDir, DownloadReport]) -> None:
        run, report = done
        assert sum(report.status_counts.values()) == report.attempted
        statuses = Counter(row["status"] for row in downloads.rows(run))
        assert report.attempted == sum(statuses.values()) - sum(statuses[name] for name in LEFT)
        assert report.downloaded == statuses["success"] == len(downloads.pictures(run))

    def test_no_more_candidates_are_tried_than_needed(self, done: tuple[RunDir, DownloadReport]) -> None:
        assert done[1].attempted < done[1].candidates

    def test_the_pictures_are_what_the_server_sent(self, done: tuple[RunDir, DownloadReport]) -> None:
        run, _ = done
        files = downloads.pictures(run)
        good = [row for row in downloads.rows(run) if "/good/" in row["url"] and row["status"] == "success"]
        assert len(good) > 50
        for row in good:
            assert files[row["key"]] == hostile.picture("/" + row["url"].split("/", 3)[3])

    def test_the_statistics_are_img2datasets(self, done: tuple[RunDir, DownloadReport]) -> None:
        run, report = done
        stats = [json.loads(path.read_text()) for path in run.shards.glob("*_stats.json")]
        left = sum(row["status"] == "not_tried" for row in downloads.rows(run))
        assert sum(stat["count"] for stat in stats) == report.attempted + left
        assert sum(stat["successes"] for stat in stats) == report.downloaded

    def test_nothing_else_is_left(self, done: tuple[RunDir, DownloadReport]) -> None:
        run, report = done
        names = {path.name for path in run.shards.iterdir()}
        kinds = (".tar", ".parquet", "_stats.json")
        assert names == {f"{shard:05d}{kind}" for shard in range(report.shards) for kind in kinds}

    def test_the_report_is_recorded_and_can_be_read(self, done: tuple[RunDir, DownloadReport]) -> None:
        run, report = done
        assert run.reports()["download"] == json.loads(json.dumps(report.as_dict()))
        assert f"{TOP} of {TOP} pictures" in report.as_text()
        assert "not_an_image" in report.as_text()

    def test_again_there_is_nothing_to_do(self, done: tuple[RunDir, DownloadReport], server) -> None:
        run, report = done
        before, files = sum(server.visits.values()), downloads.fingerprints(run)
        _, recipe = downloads.ready_run(run.path, hostile_urls(server.base, LINKS), TOP, max_pixels=10**7)
        again = download(run, recipe)
        assert (again.shards_made_now, again.status_counts) == (0, report.status_counts)
        assert downloads.fingerprints(run) == files
        assert sum(server.visits.values()) == before

    def test_other_settings_do_not_mix_with_these_shards(
        self, done: tuple[RunDir, DownloadReport], server
    ) -> None:
        run, _ = done
        _, recipe = downloads.ready_run(run.path, hostile_urls(server.base, LINKS), TOP, min_image_size=10)
        with pytest.raises(StaleRunError, match="min_image_size"):
            download(run, recipe)


def test_the_order_of_answers_changes_nothing(done: tuple[RunDir, DownloadReport], tmp_path: Path) -> None:
    """Other response times: the same pictures are chosen, and they lie in the shards in the same order.

    So it is with all links up to the last chosen one; how many behind it are tried, time decides.
    """
    with hostile.hostile(shuffle=0.3, seed=1) as slow:
        run, recipe = downloads.ready_run(
            tmp_path, hostile_urls(slow.base, LINKS), TOP, max_pixels=10**7, deadline=3.0, processes=4
        )
        download(run, recipe)
        outcomes, pictures = zip(*map(up_to_the_last_chosen, (run, done[0])), strict=True)
        assert outcomes[0] == outcomes[1]
        assert pictures[0] == pictures[1]


def up_to_the_last_chosen(run: RunDir) -> tuple[list[tuple[str, ...]], list[tuple[str, bytes]]]:
    """What became of the candidates, and the pictures in the order of the shards."""
    rows = downloads.rows(run)
    last = max(rank for rank, row in enumerate(rows) if row["chosen"])
    outcomes = [(row["status"], row["error_class"], row["chosen"]) for row in rows[: last + 1]]
    keys = {row["key"] for row in rows[: last + 1]}
    return outcomes, [each for each in downloads.pictures(run).items() if each[0] in keys]


READ_BACK = """
import json, pathlib, sys, warnings
warnings.simplefilter("ignore")
import webdataset
shards = pathlib.Path(sys.argv[1])
samples = []
for tar in sorted(shards.glob("*.tar")):
    samples += webdataset.WebDataset(str(tar), shardshuffle=False, empty_check=False).decode("pil")
print(json.dumps([[s["__key__"], s["txt"], s["json"]["url"], s["jpg"].size] for s in samples]))
"""
INCREMENTAL = """
import sys, warnings
warnings.simplefilter("ignore")
import img2dataset
img2dataset.download(
    url_list=sys.argv[2], input_format="parquet", url_col="url", caption_col="caption", thread_count=4,
    output_folder=sys.argv[1], output_format="webdataset", number_sample_per_shard=10, timeout=2,
    save_additional_columns=["score"], disable_all_reencoding=True, incremental_mode="incremental",
)
"""


@pytest.fixture(scope="module")
def healthy(server: hostile.HostileServer, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """25 pictures that could all be had."""
    urls = [f"{server.base}/good/peer{number}.jpg" for number in range(25)]
    run, recipe = downloads.ready_run(tmp_path_factory.mktemp("runs") / "healthy", urls, 25)
    assert download(run, recipe).chosen == 25
    return run


def test_webdataset_reads_the_shards(healthy: RunDir) -> None:
    program = [sys.executable, "-c", READ_BACK, str(healthy.shards)]
    read = subprocess.run(program, capture_output=True, text=True, timeout=120, check=True)
    captions = [f"picture {rank}" if rank % 7 else "" for rank in range(25)]
    urls = [row["url"] for row in downloads.rows(healthy)]
    samples = [[f"{rank:06d}", captions[rank], urls[rank], [48, 48]] for rank in range(25)]
    assert json.loads(read.stdout) == samples


@pytest.mark.slow
def test_img2dataset_goes_on_from_the_shards_as_from_its_own(
    healthy: RunDir, server: hostile.HostileServer
) -> None:
    """Its incremental mode makes the shard that is missing, and with it the same rows, and no other."""
    files = downloads.fingerprints(healthy)
    (healthy.shards / "00001_stats.json").unlink()
    server.visits.clear()
    program = [sys.executable, "-c", INCREMENTAL, str(healthy.shards), str(healthy.selected)]
    subprocess.run(program, capture_output=True, timeout=300, check=True, cwd=healthy.path)
    assert sorted(server.visits) == [f"/good/peer{number}.jpg" for number in range(10, 20)]
    changed = {name for name, value in downloads.fingerprints(healthy).items() if value != files[name]}
    assert changed == {"00001.tar", "00001.parquet"}
    rows = read_shard(healthy.shards, 1)
    assert [row.rank for row in rows] == list(range(10, 20))
    assert {row.status for row in rows} == {"success"}


def test_failures_of_the_moment_are_tried_again_and_only_they(
    server: hostile.HostileServer, tmp_path: Path
) -> None:
    names = ["good", "closed-for-now", "404", "good", "closed-for-now", "403"] * 3
    urls = [f"{server.base}/{name}/moment{number}.jpg" for number, name in enumerate(names)]
    run, recipe = downloads.ready_run(tmp_path, urls, 18, retries=0)
    hostile.OPEN.clear()
    assert download(run, recipe).status_counts == {"chosen": 6, "http_503": 6, "http_403": 3, "http_404": 3}
    first = downloads.pictures(run)
    hostile.OPEN.set()
    server.visits.clear()
    again = download(run, recipe)
    assert again.status_counts == {"chosen": 12, "http_403": 3, "http_404": 3}
    assert {path.split("/")[1] for path in server.visits} == {"closed-for-now"}
    assert first.items() <= downloads.pictures(run).items()
    server.visits.clear()
    everything = download(run, recipe, retry_failed=True)
    assert everything.status_counts == again.status_counts
    assert {path.split("/")[1] for path in server.visits} == {"404", "403"}


def test_fewer_pictures_than_the_recipe_insists_on(server: hostile.HostileServer, tmp_path: Path) -> None:
    urls = [f"{server.base}/{name}/few.jpg" for name in ("good", "404", "410", "html")]
    run, recipe = downloads.ready_run(tmp_path, urls, 3, min_images=2)
    with pytest.raises(
        FewerImagesError, match=r"1 pictures could be had of 4 candidates, fewer than min_images = 2"
    ):
        download(run, recipe)
    assert len(downloads.chosen(run)) == 1
    assert run.reports()["download"]["classes"]["http_410"] == 1


def test_duplicates_make_room_for_the_next(server: hostile.HostileServer, tmp_path: Path) -> None:
    """`gif-1000` is the same file at every address: two of it are a duplicate, three a placeholder."""
    names = ["good", "gif-1000", "gif-1000", "good"]
    urls = [f"{server.base}/{name}/d{number}.jpg" for number, name in enumerate(names)]
    run, recipe = downloads.ready_run(tmp_path / "two", urls, 3)
    assert download(run, recipe).status_counts == {"chosen": 3, "duplicate": 1}
    assert downloads.chosen(run) == [urls[0], urls[1], urls[3]]


def test_near_duplicates_are_found_by_what_they_show(server: hostile.HostileServer, tmp_path: Path) -> None:
    """The same picture as a JPEG and as a WebP file."""
    hostile.answers("near-a", None, lambda _: hostile.response(hostile.picture("near", 64)))
    hostile.answers("near-b", None, lambda _: hostile.response(hostile.picture("near", 64, "WEBP")))
    urls = [f"{server.base}/{name}/n.jpg" for name in ("near-a", "good", "near-b")]
    for name in ("near-a", "near-b"):
        hostile.EXPECTED.pop(name)
    run, recipe = downloads.ready_run(tmp_path, urls, 3, dedupe_images="near")
    assert download(run, recipe).status_counts == {"chosen": 2, "near_duplicate": 1}
    for name in ("near-a", "near-b"):
        hostile.BEHAVIOURS.pop(name)


def test_withdrawn_links_and_wrong_files_are_left_out(server: hostile.HostileServer, tmp_path: Path) -> None:
    import hashlib

    urls = [f"{server.base}/good/x{number}.jpg" for number in range(6)]
    hashes = [hashlib.sha256(hostile.picture(f"/good/x{number}.jpg")).hexdigest() for number in range(6)]
    hashes[5] = hashes[4]
    withdrawn = tmp_path / "withdrawn.txt"
    withdrawn.write_text(f"{urls[0]}\n{hashlib.md5(urls[1].encode()).hexdigest()}\n\n")
    run, recipe = downloads.ready_run(
        tmp_path / "run",
        urls,
        6,
        {"file_hash": hashes},
        exclude_urls=str(withdrawn),
        verify_hash="file_hash:sha256",
    )
    server.visits.clear()
    assert download(run, recipe).status_counts == {"chosen": 3, "excluded": 2, "hash_mismatch": 1}
    assert not {"/good/x0.jpg", "/good/x1.jpg"} & set(server.visits)


def test_resized_pictures_are_re_encoded(server: hostile.HostileServer, tmp_path: Path) -> None:
    import io

    from PIL import Image

    urls = [f"{server.base}/{name}/r.jpg" for name in ("good", "good-png", "cut-jpeg")]
    run, recipe = downloads.ready_run(tmp_path, urls, 3, resize=24)
    assert download(run, recipe).status_counts == {"chosen": 2, "truncated": 1}
    sizes = [
        (image.format, image.size)
        for image in map(Image.open, map(io.BytesIO, downloads.pictures(run).values()))
    ]
    assert sizes == [("JPEG", (24, 24))] * 2


@pytest.mark.parametrize(
    ("place", "respect"), [("robots-noindex", ["noai", "noimageai"]), ("robots-noai", [])]
)
def test_what_a_directive_forbade_is_tried_again_once_it_is_waived(
    server: hostile.HostileServer, tmp_path: Path, place: str, respect: list[str]
) -> None:
    urls = [f"{server.base}/{place}/w{number}.jpg" for number in range(2)]
    run, recipe = downloads.ready_run(tmp_path, urls, 2)
    with pytest.raises(FewerImagesError):
        download(run, recipe)
    assert {row["error_class"] for row in downloads.rows(run)} == {"robots_tag"}
    settings = recipe.download.model_copy(update={"respect": respect})
    again = recipe.model_copy(update={"download": settings})
    assert download(run, again).status_counts == {"chosen": 2}


@pytest.mark.parametrize(("limit", "tried"), [(1.2, False), (1.5, False), (1.6, True), (None, True)])
def test_a_picture_that_was_too_long_is_tried_again_by_a_wider_limit(
    limit: float | None, tried: bool
) -> None:
    with pytest.raises(ImageError) as caught:
        inspect(odd.file(odd.gradient((90, 30)), "PNG"), Limits(max_aspect_ratio=1.5))
    failed = Result(0, "http://a", "failed_to_download", caught.value.described, None, None)
    assert is_worth_a_try(failed, Download(max_aspect_ratio=limit), "spoilt") == tried


def test_private_addresses_need_permission(server: hostile.HostileServer, tmp_path: Path) -> None:
    run, recipe = downloads.ready_run(tmp_path, [f"{server.base}/good/p.jpg"], 1, allow_private=False)
    with pytest.raises(FewerImagesError, match="--allow-private"):
        download(run, recipe)
    assert downloads.rows(run)[0]["error_class"] == "private_address"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "run `visunex-data filter` first"), (b"no parquet", "not a readable parquet file")],
)
def test_no_selection_to_download(tmp_path: Path, content: bytes | None, message: str) -> None:
    run, recipe = downloads.ready_run(tmp_path, ["http://a"], 1)
    run.selected.unlink()
    if content is not None:
        run.selected.write_bytes(content)
    with pytest.raises(DownloadError, match=message):
        download(run, recipe)


def test_a_hash_that_is_none_of_the_file_is_refused(tmp_path: Path) -> None:
    run, recipe = downloads.ready_run(
        tmp_path, ["http://a"], 1, {"hash": [-12345]}, verify_hash="hash:sha256"
    )
    with pytest.raises(UsageError, match="made from the link and the caption"):
        download(run, recipe)


def test_a_worker_that_dies_is_replaced(server: hostile.HostileServer, tmp_path: Path) -> None:
    """As when the kernel's OOM killer takes one: the shard is made again by another."""
    import os
    import signal
    import threading

    urls = [f"{server.base}/slow-but-fine/k{number}.jpg" for number in range(20)]
    run, recipe = downloads.ready_run(tmp_path, urls, 20, threads=4, processes=2)
    before = set(worker_ids())

    def kill_one() -> None:
        while not server.visits["/slow-but-fine/k5.jpg"]:
            time.sleep(0.05)
        os.kill(min(set(worker_ids()) - before), signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    report = download(run, recipe)
    killer.join()
    assert report.status_counts == {"chosen": 20}


def worker_ids() -> list[int]:
    """Process ids of the workers that this process has started."""
    import os

    children = Path(f"/proc/{os.getpid()}/task")
    found = [pid for task in children.iterdir() for pid in (task / "children").read_text().split()]
    return [
        int(pid)
        for pid in found
        if b"visunex.pipeline.download.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
