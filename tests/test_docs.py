"""The examples in `docs/` run in their order, as a stranger runs them, offline, in a new folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def script(text: str) -> str:
    """A page's python blocks as one program, each line where it stands on the page: tracebacks name it."""
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        if block[1] == "python":
            first = text.count("\n", 0, block.start(2))
            for number, line in enumerate(block[2].splitlines(), first):
                lines[number] = line
    return "\n".join(lines)


def test_blocks_keep_their_lines() -> None:
    page = "text\n```python\na = 1\n```\n```\nno code\n```\n```python\nb = 2\n```\n"
    assert script(page).splitlines()[:9] == ["", "", "a = 1", "", "", "", "", "", "b = 2"]


TINY = """
import torch
import numpy as np
from diffusers import StableDiffusionPipeline
from visunex.aesthetic_embeddings import save
from visunex.demo.tiny import SD_FOLDER, text_projection
pipe = StableDiffusionPipeline.from_pretrained(str(SD_FOLDER))
pipe.text_encoder.text_projection = torch.nn.Linear(128, 768, bias=False)  # which the real one has published
pipe.text_encoder.text_projection.weight.data = text_projection()
save("runs/flowers/embedding.pt", np.random.default_rng(0).standard_normal((1, 768)).astype(np.float32), {})
"""
AFTER = """
with torch.no_grad():
    plain = pipe.encode_prompt("a castle at night", "cpu", 1, False)[0]
once, again, never = (
    steered(pipe, "a castle at night", taste, steps=steps)["prompt_embeds"] for steps in (10, 10, 0)
)
assert torch.equal(never, plain)
assert not torch.allclose(once, plain, atol=1e-3)
assert torch.equal(once, again), "the pipeline is as it was"
"""


EACH = """
import os, runpy, sys
for folder in sys.argv[1:]:
    os.chdir(f"{folder}/here")
    runpy.run_path(f"{folder}/program.py", run_name="__main__")
"""


def elsewhere() -> str:
    """The page's own lines, with visunex-tiny in place of the model that would have to be fetched."""
    blocks = [block[2] for block in BLOCK.finditer((DOCS / "use-elsewhere.md").read_text(encoding="utf-8"))]
    lines = next(block for block in blocks if "**steered(" in block)
    return f"{TINY}{lines}{AFTER}"


def test_the_examples_run_and_the_pipeline_of_diffusers_takes_what_we_make(tmp_path: Path) -> None:
    """Each in a folder where nothing is, one after another in one process: torch takes seconds to import."""
    programs = {"api": script((DOCS / "api.md").read_text(encoding="utf-8")), "elsewhere": elsewhere()}
    for name, text in programs.items():
        (tmp_path / name / "here").mkdir(parents=True)
        (tmp_path / name / "program.py").write_text(text, encoding="utf-8")
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", EACH, *(str(tmp_path / name) for name in programs)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "elsewhere" / "here" / "castle.png").exists()
