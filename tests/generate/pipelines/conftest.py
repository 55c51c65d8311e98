"""Small random pipelines, made anew for each test."""

from collections.abc import Callable
from typing import Any

import pytest
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from small_pipelines import VOCABULARY, WORDS, sd1_pipe, sdxl_pipe
from transformers import CLIPTokenizer

from visunex.demo.tokens import write_tokenizer


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], CLIPTokenizer]:
    folder = tmp_path_factory.mktemp("tokens")
    write_tokenizer(folder, [WORDS], VOCABULARY - 10)
    return lambda: CLIPTokenizer.from_pretrained(folder, model_max_length=77)


@pytest.fixture
def sd1(words: Callable[[], Any]) -> StableDiffusionPipeline:
    return sd1_pipe(words())


@pytest.fixture
def sdxl(words: Callable[[], Any]) -> StableDiffusionXLPipeline:
    return sdxl_pipe(words)
