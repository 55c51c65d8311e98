"""Peers themselves, in an environment of their own (`make interop`): they read our files, we read theirs.

clip-retrieval 2.45 wants an older numpy and pyarrow than ours, so it lives in `.interop/`. It reads our
vectors folder (`clip-retrieval index`, and a query finds the right neighbour), `encode --precomputed` reads
what its `inference` wrote, and our encode reads what img2dataset's own command wrote.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from visunex.pipeline.vectors.store import read_vectors

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / ".interop" / "bin"
OURS = Path(sys.executable).parent

# What clip-retrieval's service does with a query: the index that its command made, and its metadata.
QUERY = """
import json, sys
import faiss, numpy as np, pandas as pd
folder, out = sys.argv[1:]
index = faiss.read_index(f"{folder}/image.index")
vectors = np.concatenate([np.load(file) for file in sorted(__import__("glob").glob(f"{out}/img_emb/*.npy"))])
files = sorted(__import__("glob").glob(f"{out}/metadata/*.parquet"))
metadata = pd.concat([pd.read_parquet(file) for file in files])
_, found = index.search(vectors.astype("float32")[:20], 1)
print(json.dumps({"rows": len(metadata), "dimension": vectors.shape[1], "same": found[:, 0].tolist()}))
"""
# clip-retrieval's own writer, fed with its own batches: what its inference puts on disk.
WRITE = """
import sys
import numpy as np, pandas as pd
from clip_retrieval.clip_inference.writer import NumpyWriter
source, out = sys.argv[1:]
vectors = np.load(f"{source}/img_emb/img_emb_0000.npy")
metadata = pd.read_parquet(f"{source}/metadata/metadata_0000.parquet")
writer = NumpyWriter(partition_id=0, output_folder=out, enable_text=False, enable_image=True,
                     enable_metadata=True, output_partition_count=1)
import json
for begin in range(0, len(vectors), 16):
    rows = metadata.iloc[begin:begin + 16]
    said = [json.dumps({"url": url, "caption": text}) for url, text in zip(rows["url"], rows["caption"])]
    writer({"image_embs": vectors[begin:begin + 16].astype("float16"), "text_embs": None, "text": None,
            "image_filename": list(rows["image_path"]), "metadata": said})
writer.flush()
"""
# Random weights that both read.
SAVE = """
import sys
import open_clip, torch
torch.manual_seed(0)
torch.save(open_clip.create_model(sys.argv[1]).state_dict(), sys.argv[2])
"""


def run(*command: str | Path, cwd: Path) -> str:
    """A command's standard output; its failure ends this one."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def ours(*arguments: str | Path, cwd: Path) -> dict:
    """A command of ours with --json."""
    return json.loads(run(OURS / "visunex-data", *arguments, "--json", cwd=cwd))


def they_read_ours(folder: Path) -> None:
    """clip-retrieval indexes the vectors of a run, and finds each picture as its own nearest neighbour."""
    vectors = folder / "runs/demo_flower/vectors"
    run(PEER / "clip-retrieval", "index", "--embeddings_folder", vectors, "--index_folder", "index",
        "--max_index_memory_usage", "200M", "--nb_cores", "1", cwd=folder)  # fmt: skip
    said = json.loads(run(PEER / "python", "-c", QUERY, "index", vectors, cwd=folder).splitlines()[-1])
    assert said["same"] == list(range(20)), said
    print(f"clip-retrieval index: {said['rows']} vectors [{said['dimension']}], 20 of 20 neighbours right")


def we_read_theirs(folder: Path) -> None:
    """encode --precomputed of what clip-retrieval's writer wrote: the embedding that the pictures gave."""
    run(PEER / "python", "-c", WRITE, folder / "runs/demo_flower/vectors", folder / "theirs", cwd=folder)
    ours("encode", "--run", "runs/demo_flower", "--precomputed", folder / "theirs", "--reduce", "unit-mean",
         "--overwrite", cwd=folder)  # fmt: skip
    same = ours("embeddings", "compare", "runs/demo_flower", "before.pt", cwd=folder)
    assert same["cosine"] > 0.999999, same
    print(
        f"encode --precomputed of clip-retrieval's files: cosine {same['cosine']:.8f} to that of the pictures"
    )


def we_read_what_inference_wrote(folder: Path) -> None:
    """The pictures of a run through `clip-retrieval inference` and through ours: the same vectors by link."""
    weights, name, found = folder / "random.pt", "ViT-B-32-quickgelu", folder / "inferred"
    place = shutil.copytree(folder / "runs/demo_flower", folder / "runs/another_model")
    run(OURS / "python", "-W", "ignore", "-c", SAVE, name, weights, cwd=folder)
    shards = sorted((place / "shards").glob("*.tar"))
    tars = f"{shards[0].parent}/{{00000..{shards[-1].stem}}}.tar"
    run(PEER / "clip-retrieval", "inference", "--input_dataset", tars,
        "--input_format", "webdataset", "--output_folder", found, "--enable_text", "False",
        "--enable_metadata", "True", "--batch_size", "8", "--num_prepro_workers", "1",
        "--clip_model", f"open_clip:{name}/{weights}", cwd=folder)  # fmt: skip
    model = ["--run", "runs/another_model", "--model", name, "--pretrained", weights, "--precision", "fp32",
             "--reduce", "unit-mean", "--overwrite"]  # fmt: skip
    ours("encode", *model, cwd=folder)
    mine, theirs = by_link(place / "vectors"), by_link(found)
    least = min(float(vector @ theirs[link]) for link, vector in mine.items())
    assert least > 0.999, least
    report = ours("encode", *model, "--precomputed", found, cwd=folder)
    assert report["precomputed"] == len(mine), report
    print(
        f"clip-retrieval inference: {len(mine)} vectors of the same pictures, least cosine {least:.6f}; "
        f"encode --precomputed took {report['precomputed']} of its {len(theirs)}"
    )


def by_link(folder: Path) -> dict[str, NDArray[np.float32]]:
    """The unit vectors of a folder by the address of their picture."""
    found = read_vectors(folder)
    tables = [pq.read_table(part.metadata, columns=["url"]) for part in found.parts if part.metadata]
    links = [link for table in tables for link in table["url"].to_pylist()]
    return dict(zip(links, np.concatenate(list(found.units())), strict=True))


def we_read_img2dataset(folder: Path) -> None:
    """Our encode reads the shards that img2dataset's own command made."""
    server = subprocess.Popen(
        [OURS / "visunex-data", "demo", "--metadata", "demo.parquet", "--port", "8799", "--seconds", "120"],
        cwd=folder, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        server.stdout.readline()
        code = (
            "import pyarrow.parquet as pq; pq.write_table(pq.read_table('demo.parquet')[:60], 'few.parquet')"
        )
        run(PEER / "python", "-c", code, cwd=folder)
        run(PEER / "img2dataset", "--url_list", "few.parquet", "--input_format", "parquet",
            "--url_col", "URL",
            "--caption_col", "TEXT", "--output_format", "webdataset", "--output_folder", "shards",
            "--processes_count", "1", "--thread_count", "8", "--timeout", "3", "--resize_mode", "no",
            "--enable_wandb", "False", cwd=folder)  # fmt: skip
    finally:
        server.terminate()
        server.wait()
    report = ours("encode", "--images", "shards", "--model", "visunex-tiny", "--out", "theirs.pt", cwd=folder)
    assert report["encoded"] >= 40, report
    print(f"encode of img2dataset's own shards: {report['encoded']} pictures, {report['failed']}")


def main() -> None:
    """All of them, in a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="visunex-interop-") as name:
        folder = Path(name)
        ours("run", "demo_flower", "--set", "filter.top=100", "--set", "encode.reduce=unit-mean", cwd=folder)
        (folder / "before.pt").write_bytes((folder / "runs/demo_flower/embedding.pt").read_bytes())
        they_read_ours(folder)
        we_read_what_inference_wrote(folder)
        we_read_theirs(folder)
        we_read_img2dataset(folder)


if __name__ == "__main__":
    main()
