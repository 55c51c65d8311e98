"""What people write: recipes, `--set`, prompts, lists of withdrawn links, captions' keywords."""

import gzip
import hashlib
import io
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..loader import Seed, loader

_URLS = [f"https://h/{number}.jpg?a=1&b=2" for number in range(5)]


def _recipes(_: Path) -> Iterable[Seed]:
    from visunex.recipes import dumps, find, load, names

    for name in names():
        yield Seed("x.toml", find(name).read_bytes())
        yield Seed("x.toml", dumps(load(name)).encode())


@loader("recipe", _recipes)
def _recipe(path: Path) -> None:
    from visunex.recipes import dumps, load, renamed

    found = load(path)
    renamed(path.read_text(encoding="utf-8-sig"), "mine")
    path.write_text(dumps(found), encoding="utf-8")
    assert load(path) == found


def _overrides(_: Path) -> Iterable[Seed]:
    for text in (
        "filter.top=500", "filter.keywords=rose, tulip", 'filter.keywords=["a", "b"]',
        "source.columns.url=link", "source=laion", "encode.reduce.kind='median'",
        "download.respect=[]", "filter.where=WIDTH > 5",
    ):  # fmt: skip
        yield Seed("set.txt", text.encode())


@loader("--set", _overrides)
def _set(path: Path) -> None:
    from visunex.recipes import load, override

    override(load("demo_flower"), [path.read_bytes().decode(errors="surrogateescape")])


def _prompts(_: Path) -> Iterable[Seed]:
    yield Seed("x.txt", "a castle\n\na moat, é\r\nthird \u2028 line\n".encode())
    yield Seed("x.txt", "\ufeffone\ntwo".encode())
    yield Seed(
        "x.txt",
        b'# said\na castle --n "fog, --s 3" --d 7 --s 9 --w 64 --h=128 --plms\na moat --scale 5\n--d 8',
    )
    yield Seed(
        "x.txt", b"--prompt 'a' b --steps 20 --cfg_scale 7 --sampler_name \"Euler a\" --batch_size 2\n"
    )


@loader("prompts", _prompts, share=0.5)
def _prompts_file(path: Path) -> None:
    from visunex.generate.cli import main
    from visunex.generate.command.prompt_file import runs_of
    from visunex.generate.command.request import Options

    context = main.make_context("x", ["--from-file", str(path), "--prompt", "a castle"])
    options = {field: context.params[field] for field in Options.__dataclass_fields__}
    assert runs_of(context, Options(**options), frozenset({"from_file"}))


@cache
def _tokenizer() -> Any:
    from visunex.generate.tokens import clip_tokenizer

    return clip_tokenizer()


def _weights(_: Path) -> Iterable[Seed]:
    yield Seed(
        "x.txt", "((castle:1.2) \\(by night\\), [fog], (moat)) BREAK é, <lora:x:1> [a:b:0.5] [a|b]".encode()
    )
    yield Seed("x.txt", b"a castle, " * 40 + b"(far away:.8) AND a moat :1.2")


@loader("weights", _weights, share=0.5)
def _weighted(path: Path) -> None:
    from visunex.generate.syntax import chunks_of, resolved, weighted

    words = resolved(path.read_text(encoding="utf-8", errors="replace")).text
    assert chunks_of(weighted(words), _tokenizer(), 77)


def _withdrawn(_: Path) -> Iterable[Seed]:
    hashes = [hashlib.sha256(url.encode()).hexdigest() for url in _URLS]
    lines = "\n".join(["# withdrawn", *_URLS, *hashes]).encode()
    csv = "\n".join(["id,url,why", *(f'{at},"{url}","said, so"' for at, url in enumerate(_URLS))]).encode()
    objects = "\n".join(f'{{"url": "{url}", "n": [{at}]}}' for at, url in enumerate(_URLS)).encode()
    array = b"[" + b",".join(b'{"a": {"url": "%s"}}' % url.encode() for url in _URLS) + b"]"
    for file, data in (("x.txt", lines), ("x.csv", csv), ("x.jsonl", objects), ("x.json", array)):
        yield Seed(file, data)
    yield Seed("x.txt.gz", lines, gzip.compress, "text")
    yield Seed("x.txt.gz", gzip.compress(lines, mtime=0), form="binary")
    buffer = io.BytesIO()
    pq.write_table(pa.table({"url": _URLS, "n": range(5)}), buffer)
    yield Seed("x.parquet", buffer.getvalue())


@loader("--exclude-urls", _withdrawn)
def _exclude(path: Path) -> None:
    from visunex.pipeline.metadata.withdrawn import withdrawn

    withdrawn([*_URLS, None], path)


def _addresses(_: Path) -> Iterable[Seed]:
    for url in (
        "https://user:pw@host.example:8080/a%20b/ü.jpg?x=1&amp;y=2#part", "http://[::1]:80/a",
        "http://2130706433/",
        "https://xn--bcher-kva.example/..//./a?b", "HTTP://EXAMPLE.COM:80/\\a",
    ):  # fmt: skip
        yield Seed("x.txt", url.encode())


@loader("address", _addresses, share=0.5)
def _address(path: Path) -> None:
    from visunex.net.addresses import checked_url, credentials, next_hop, unescaped

    text = path.read_bytes().decode(errors="surrogateescape")
    next_hop(checked_url("https://h/a"), text, 302)
    found = checked_url(text)
    credentials(text)
    unescaped(found)
