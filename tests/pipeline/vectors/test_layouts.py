"""Vectors as people publish them: beside metadata by name or number, in .npz, in a column."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result
from standin import Page, serving

from visunex.aesthetic_embeddings import load
from visunex.clip.factory import load_image_encoder
from visunex.clip.image_encoder import ImageEncoder
from visunex.demo.scenes import Scene, caption, random_scene, render
from visunex.pipeline.cli import main
from visunex.pipeline.errors import EncodeError
from visunex.pipeline.vectors.arrays import ColumnArray, array_in_zip
from visunex.pipeline.vectors.remote_store import header, open_folder

ROWS, CUT = 120, 70


@pytest.fixture(scope="module")
def rows() -> tuple[pl.DataFrame, np.ndarray]:
    """Links and captions of drawn scenes, and raw vectors of their pictures."""
    from random import Random

    rng = Random(4)
    scenes: list[Scene] = [random_scene(rng) for _ in range(ROWS)]
    encoder: ImageEncoder = load_image_encoder("visunex-tiny", precision="fp32", device="cpu")
    pixels = np.stack([encoder.preprocessing.square(render(scene)) for scene in scenes])
    vectors = np.concatenate([encoder.encode(pixels[at : at + 40]) for at in range(0, ROWS, 40)])
    table = pl.DataFrame(
        {
            "url": [f"https://a.invalid/{number:04d}.jpg" for number in range(ROWS)],
            "text": [caption(scene, rng) for scene in scenes],
            "score": [float(number % 17) for number in range(ROWS)],
        }
    )
    return table, vectors


Writer = Callable[[Path, pl.DataFrame, np.ndarray], list[str]]


def clip_retrieval(folder: Path, table: pl.DataFrame, vectors: np.ndarray) -> list[str]:
    for number, part in enumerate((slice(0, CUT), slice(CUT, None))):
        save(folder / f"img_emb/img_emb_{number}.npy", vectors[part])
        write(folder / f"metadata/metadata_{number}.parquet", table[part])
    return []


def by_name(folder: Path, table: pl.DataFrame, vectors: np.ndarray) -> list[str]:
    for name, part in (("a", slice(0, CUT)), ("b", slice(CUT, None))):
        save(folder / f"{name}.npy", vectors[part])
        write(folder / f"{name}.parquet", table[part])
    return []


def by_number(folder: Path, table: pl.DataFrame, vectors: np.ndarray) -> list[str]:
    for number, part in enumerate((slice(0, CUT), slice(CUT, None))):
        save(folder / f"emb/vit_l14_{number}.npy", vectors[part])
        write(folder / f"meta/part-{number:05d}.parquet", table[part])
    return []


def zipped(pack: Callable[..., None], *, key: bool) -> Writer:
    def made(folder: Path, table: pl.DataFrame, vectors: np.ndarray) -> list[str]:
        folder.mkdir(parents=True, exist_ok=True)
        for name, part in (("00a", slice(0, CUT)), ("00b", slice(CUT, None))):
            more = (
                {"b32_img": vectors[part][:, :512], "count": np.arange(3)} if key else {"count": np.arange(3)}
            )
            pack(folder / f"{name}.npz", l14_img=vectors[part], **more)
            write(folder / f"{name}.parquet", table[part])
        return ["--vector-key", "l14_img"] if key else []

    return made


def in_column(kind: Any, *, name: str | None) -> Writer:
    def made(folder: Path, table: pl.DataFrame, vectors: np.ndarray) -> list[str]:
        lists = pl.Series("clip", vectors.tolist(), kind)
        more = [pl.Series("other", [[0.5, 1.0]] * ROWS)] if name else []
        whole = table.with_columns(lists, *more)
        for number, part in enumerate((slice(0, CUT), slice(CUT, None))):
            write(folder / f"{number}.parquet", whole[part], row_group_size=16)
        return ["--vector-column", name] if name else []

    return made


def save(path: Path, vectors: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, vectors)


def write(path: Path, table: pl.DataFrame, **options: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_parquet(path, **options)


LAYOUTS: dict[str, Writer] = {
    "by name": by_name,
    "by number": by_number,
    "npz": zipped(np.savez, key=True),
    "npz, packed": zipped(np.savez_compressed, key=True),
    "npz of one": zipped(np.savez, key=False),
    "column": in_column(pl.List(pl.Float32), name="clip"),
    "column, alone": in_column(pl.List(pl.Float32), name=None),
    "column of fixed lists": in_column(pl.Array(pl.Float32, 768), name="clip"),
}


def run(folder: Path, source: Path, vectors: Path, *options: str, fails: bool = False) -> Result:
    given = [
        "run",
        "demo_flower",
        "--run",
        folder,
        "--set",
        f"source.data={source}",
        "--set",
        "filter.keywords=a",
    ]
    given += [
        "--set",
        "filter.top=40",
        "--set",
        "encode.reduce=mean",
        "--set",
        f"encode.precomputed={vectors}",
    ]
    for option, value in zip(options[::2], options[1::2], strict=True):
        given += ["--set", f"encode.{option.removeprefix('--').replace('-', '_')}={value}"]
    done = CliRunner().invoke(main, [*map(str, given)])
    assert (done.exit_code == 0) != fails, done.output
    return done


@pytest.fixture(scope="module")
def expected(rows: tuple[pl.DataFrame, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The embedding of clip-retrieval's layout."""
    folder = tmp_path_factory.mktemp("expected")
    clip_retrieval(folder / "v", *rows)
    write(folder / "m.parquet", rows[0])
    run(folder / "run", folder / "m.parquet", folder / "v")
    return load(folder / "run" / "embedding.pt").vector


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_embedding_of_clip_retrievals(
    rows: tuple[pl.DataFrame, np.ndarray], expected: np.ndarray, tmp_path: Path, layout: str
) -> None:
    options = LAYOUTS[layout](tmp_path / "v", *rows)
    write(tmp_path / "m.parquet", rows[0])
    run(tmp_path / "run", tmp_path / "m.parquet", tmp_path / "v", *options)
    np.testing.assert_array_equal(load(tmp_path / "run" / "embedding.pt").vector, expected)


@pytest.mark.parametrize("layout", ["by name", "by number", "npz"])
@pytest.mark.parametrize("shift", [-1, 1])
def test_vectors_that_are_a_row_off_are_refused(
    rows: tuple[pl.DataFrame, np.ndarray], tmp_path: Path, layout: str, shift: int
) -> None:
    table, vectors = rows
    options = LAYOUTS[layout](tmp_path / "v", table, np.roll(vectors, shift, axis=0))
    write(tmp_path / "m.parquet", table)
    said = run(tmp_path / "run", tmp_path / "m.parquet", tmp_path / "v", *options, fails=True).output
    assert f"one row {'further on' if shift > 0 else 'before'}: they do not belong together" in said


def test_vectors_of_other_rows_and_rows_without_captions_are_refused(
    rows: tuple[pl.DataFrame, np.ndarray], tmp_path: Path
) -> None:
    table, vectors = rows
    by_name(tmp_path / "v", table, vectors[np.random.default_rng(0).permutation(ROWS)])
    by_name(tmp_path / "w", table.drop("text"), vectors)
    write(tmp_path / "m.parquet", table)
    shuffled = run(tmp_path / "run", tmp_path / "m.parquet", tmp_path / "v", fails=True).output
    assert "no better than those of the rows beside them" in shuffled
    bare = run(tmp_path / "other", tmp_path / "m.parquet", tmp_path / "w", fails=True).output
    assert "has no captions, so nothing shows that its rows are those of" in bare


def test_likeness_is_told_by_any_layout(rows: tuple[pl.DataFrame, np.ndarray], tmp_path: Path) -> None:
    write(tmp_path / "m.parquet", rows[0])
    ranked = []
    for layout in ("npz, packed", "column"):
        options = LAYOUTS[layout](tmp_path / layout, *rows)
        asked = ["filter", tmp_path / "m.parquet", "--precomputed", tmp_path / layout, *options, "--top", 30]
        asked += [
            "--like",
            "a castle",
            "--model",
            "visunex-tiny",
            "--dedupe-vectors",
            0.99,
            "--run",
            tmp_path / "run",
        ]
        done = CliRunner().invoke(main, [*map(str, asked), "--overwrite"])
        assert done.exit_code == 0, done.output
        ranked.append(pl.read_parquet(tmp_path / "run" / "selected.parquet")["url"].to_list())
    assert ranked[0] == ranked[1]
    captions = dict(rows[0].select("url", "text").iter_rows())
    assert all("castle" in captions[url].lower() for url in ranked[0][:5])


def test_a_column_behind_an_address(rows: tuple[pl.DataFrame, np.ndarray]) -> None:
    table = rows[0].with_columns(clip=pl.Series(rows[1].tolist(), dtype=pl.List(pl.Float32)))
    data = io.BytesIO()
    table.write_parquet(data, row_group_size=16)
    with serving({"/v.parquet": Page(data.getvalue())}) as server:
        (part,) = open_folder(f"{server.address}/v.parquet#vector-column=clip").parts
        head = header(part.vectors)
        assert (head.count, head.dimension) == rows[1].shape
        row = part.vectors.read(head.start + 100 * head.width, head.start + 101 * head.width)
        np.testing.assert_array_equal(np.frombuffer(row, head.kind), rows[1][100])


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["a.npy", "a.parquet", "b.npy"], "parquet of b is not there"),
        (["v_1.npy", "w_01.npy", "m1.parquet"], "could both be part 1"),
        (["a.npz", "a.parquet"], "is no .npz that can be read"),
        (["a.txt"], "nor arrays .* beside parquet files"),
    ],
)
def test_files_that_do_not_pair(tmp_path: Path, names: list[str], why: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"PK\x03\x04 no zip at all")
    with pytest.raises(EncodeError, match=why):
        open_folder(str(tmp_path))


def test_arrays_to_choose_from_are_named(tmp_path: Path) -> None:
    from visunex.net.range_file import LocalFile

    np.savez(tmp_path / "a.npz", one=np.ones((3, 4)), two=np.ones((3, 5)), names=np.array(["a"]))
    file = LocalFile(tmp_path / "a.npz")
    with pytest.raises(
        EncodeError, match=r"several arrays of vectors \(one, two\); name one with --vector-key"
    ):
        array_in_zip(file, None)
    with pytest.raises(EncodeError, match=r"no array 'three'; it has names, one, two"):
        array_in_zip(file, "three")
    assert header(array_in_zip(file, "two")).dimension == 5
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.npy", b"\x93NUMPY\x01\x00\xff\xff{'descr'")
    with pytest.raises(EncodeError, match="no array of vectors"):
        array_in_zip(LocalFile(tmp_path / "b.npz"), None)
    with pytest.raises(EncodeError, match="holds no vectors"):
        header(array_in_zip(LocalFile(tmp_path / "b.npz"), "one"))


def test_rows_of_a_column_that_are_no_vectors_are_nan(tmp_path: Path) -> None:
    from visunex.net.range_file import LocalFile

    lists = [[1.0, 2.0], None, [3.0], [4.0, 5.0], [], [6.0, 7.0]]
    pl.DataFrame({"v": lists}).write_parquet(tmp_path / "a.parquet", row_group_size=2)
    array = ColumnArray(LocalFile(tmp_path / "a.parquet"), "v")
    whole = np.load(io.BytesIO(array.read(0, array.size)))
    np.testing.assert_array_equal(whole[[0, 3, 5]], [[1, 2], [4, 5], [6, 7]])
    assert np.isnan(whole[[1, 2, 4]]).all()
    assert b"".join(array.pieces(0, array.size)) == array.read(0, array.size)
    for begin, end in ((0, 7), (120, 140), (130, 10**6), (array.size, array.size + 5)):
        assert array.read(begin, end) == array.read(0, array.size)[begin:end]
