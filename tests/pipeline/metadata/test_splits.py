"""Which files of a data set on the Hub are meant by its configuration and its split."""

from typing import Any

import pytest

from visunex.net.hub import HubFile
from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata.hub.splits import data_files

TWO = [
    {"config_name": "small", "data_files": [{"split": "train", "path": "small/train-*"},
                                            {"split": "test", "path": ["small/test-*"]}]},
    {"config_name": "large", "data_files": "large/*.parquet", "default": False},
]  # fmt: skip
FILES = ["small/train-0.parquet", "small/test-0.parquet", "large/a.parquet", "README.md", "_old/x.parquet"]


def chosen(paths: list[str], configs: Any = None, config: str | None = None, split: str | None = None) -> str:
    files = [HubFile(path, None) for path in paths]
    return " ".join(each.path for each in data_files(files, configs, "OWNER/NAME", config, split))


@pytest.mark.parametrize(
    ("paths", "split", "found"),
    [
        ("data/train-00000-of-00002-ab.parquet data/train-00001-of-00002.parquet data/dev-00000-of-00001.pq",
         None, "data/train-00000-of-00002-ab.parquet data/train-00001-of-00002.parquet"),
        ("data/art-00000-of-00001.parquet data/README.md", None, "data/art-00000-of-00001.parquet"),
        ("a/train/0.tar a/val/0.tar contrain/1.tar", None, "a/train/0.tar"),
        ("a/train/0.tar a/val/0.tar", "validation", "a/val/0.tar"),
        ("trainset.parquet evaluation_2.parquet", None, "evaluation_2.parquet"),
        ("x_train.parquet x_test.parquet test_notes.md", None, "x_train.parquet"),
        ("test_notes.md all.parquet", None, "all.parquet"),
        ("b.parquet a/c.parquet .hidden/d.parquet", None, "b.parquet a/c.parquet"),
        ("README.md", None, ""),
    ],
)  # fmt: skip
def test_splits_by_names(paths: str, split: str | None, found: str) -> None:
    assert chosen(paths.split(), split=split) == found


@pytest.mark.parametrize(
    ("configs", "config", "split", "found"),
    [
        (TWO, "small", None, "small/train-0.parquet"),
        (TWO, "small", "test", "small/test-0.parquet"),
        (TWO, "large", None, "large/a.parquet"),
        ([{**TWO[0], "default": True}, TWO[1]], None, None, "small/train-0.parquet"),
        ([{**TWO[1], "config_name": "default"}, TWO[0]], None, None, "large/a.parquet"),
        ([{"data_files": {"train": ["./large"]}}], None, None, "large/a.parquet"),
        ([{"data_dir": "small"}], None, "test", "small/test-0.parquet"),
        ([{"data_dir": "small", "data_files": "*rain*"}], None, None, "small/train-0.parquet"),
        (None, "small", None, "small/train-0.parquet"),
        (["nonsense", {"data_files": [1, {}]}, 3], None, None, "small/train-0.parquet"),
    ],
)
def test_configurations_of_a_page(configs: Any, config: str | None, split: str | None, found: str) -> None:
    assert chosen(FILES, configs, config, split) == found


@pytest.mark.parametrize(
    ("configs", "config", "split", "said"),
    [
        (TWO, None, None, r"has several configs: name one of small, large \(\?config=...\)"),
        (TWO, "huge", None, "has no config 'huge': name one of small, large"),
        (TWO, "small", "dev", r"has no split 'dev': name one of train, test \(\?split=...\)"),
        (None, "huge", None, "has no config 'huge', and names no other"),
        (
            [{"data_files": "https://elsewhere/x.parquet"}],
            None,
            None,
            "lie elsewhere, such as https://elsewhere",
        ),
        ([{"data_files": ["small/*", "hf://datasets/a/b/x"]}], None, None, "lie elsewhere, such as hf://"),
        ([{"data_files": "../../etc/*"}], None, None, "does not have, such as ../../etc/"),
    ],
)
def test_what_is_not_clear_is_asked(configs: Any, config: str | None, split: str | None, said: str) -> None:
    with pytest.raises(SourceError, match=f"OWNER/NAME.* {said}"):
        chosen(FILES, configs, config, split)
