import copy
import inspect
import math
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import Tensor

from visunex.generate import Sampler, Settings, Taste
from visunex.generate.errors import EmbeddingSizeError, MemoryShortageError, SamplingError, UsageError
from visunex.generate.sampling.decode import decode
from visunex.generate.sampling.denoise import denoise
from visunex.generate.sampling.names import OTHERS, SPACED
from visunex.generate.sampling.noise import Noise, seeds_of
from visunex.generate.sampling.sampler import build_scheduler, groups
from visunex.generate.sampling.schedulers import build, canonical, names, original_timesteps

# diffusers' schedulers under numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

SCALE = 7.5
SHAPE = (2, 4, 8, 8)


@pytest.fixture(scope="module")
def sampler(model_folder):
    return Sampler.load(str(model_folder), device="cpu")


def taste(size: int = 64, steps: int = 3, lr: float = 1e-3) -> Taste:
    return Taste("gardens", torch.randn(1, size, generator=torch.Generator().manual_seed(3)), steps, lr)


class Original:
    """CompVis's DDIM and PLMS samplers, written out from their update equations."""

    def __init__(self, unet, cond: Tensor, uncond: Tensor, steps: int, eta: float, seed: int) -> None:
        self.unet, self.context = unet, torch.cat([uncond, cond])
        betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=np.float64) ** 2
        cumulative = np.cumprod(1.0 - betas)
        self.times = np.asarray(list(range(0, 1000, 1000 // steps))) + 1
        self.alphas = cumulative[self.times]
        self.alphas_prev = np.asarray([cumulative[0], *cumulative[self.times[:-1]]])
        self.sigmas = eta * np.sqrt(
            (1 - self.alphas_prev) / (1 - self.alphas) * (1 - self.alphas / self.alphas_prev)
        )
        self.generator = torch.Generator().manual_seed(seed)

    def noise(self) -> Tensor:
        return torch.randn(SHAPE, generator=self.generator)

    def estimate(self, x: Tensor, index: int) -> Tensor:
        time = torch.full((2 * len(x),), int(self.times[index]))
        e_uncond, e_cond = self.unet(torch.cat([x, x]), time, self.context).sample.chunk(2)
        return e_uncond + SCALE * (e_cond - e_uncond)

    def previous(self, x: Tensor, e: Tensor, index: int) -> Tensor:
        a, a_prev, sigma = self.alphas[index], self.alphas_prev[index], self.sigmas[index]
        predicted = (x - math.sqrt(1 - a) * e) / math.sqrt(a)
        direction = math.sqrt(1 - a_prev - sigma**2) * e
        return math.sqrt(a_prev) * predicted + direction + sigma * self.noise()

    @torch.no_grad()
    def ddim(self) -> Tensor:
        x = self.noise()
        for index in reversed(range(len(self.times))):
            x = self.previous(x, self.estimate(x, index), index)
        return x

    @torch.no_grad()
    def plms(self) -> Tensor:
        x, old = self.noise(), []
        for index in reversed(range(len(self.times))):
            e = self.estimate(x, index)
            if not old:
                ahead = self.estimate(self.previous(x, e, index), max(index - 1, 0))
                e_prime = (e + ahead) / 2
            elif len(old) == 1:
                e_prime = (3 * e - old[-1]) / 2
            elif len(old) == 2:
                e_prime = (23 * e - 16 * old[-1] + 5 * old[-2]) / 12
            else:
                e_prime = (55 * e - 59 * old[-1] + 37 * old[-2] - 9 * old[-3]) / 24
            x = self.previous(x, e_prime, index)
            old = [*old, e][-3:]
        return x


@pytest.mark.parametrize("steps", [50, 7])  # divides 1000, or does not
@pytest.mark.parametrize(("name", "eta"), [("ddim", 0.0), ("ddim", 0.5), ("plms", 0.0)])
def test_trajectories_are_the_originals(sampler, name, eta, steps):
    cond = torch.cat([sampler.conditioner.prompt(text).hidden for text in ("a castle", "a ship")])
    uncond = sampler.conditioner.negative("").hidden.expand_as(cond)
    original = Original(sampler.model.unet, cond, uncond, steps, eta, seed=5)
    expected = getattr(original, name)()
    noise = Noise(5, "cpu", "cpu")
    latents = denoise(
        sampler.model.unet,
        build_scheduler(sampler.model, Settings(scheduler=name, steps=steps, eta=eta)),
        noise.draw(SHAPE),
        cond,
        uncond,
        guidance_scale=SCALE,
        eta=eta,
        noise=noise,
    )
    assert (latents - expected).abs().max() < 1e-4
    # the next batch begins where the original's would
    assert torch.equal(noise.draw(SHAPE), original.noise())


@pytest.mark.parametrize(
    ("steps", "count"), [(50, 50), (30, 31), (1, 1), (500, 500), (501, 999), (1000, 999)]
)
def test_time_steps_are_the_originals(steps, count):
    timesteps = original_timesteps(steps)
    assert len(timesteps) == count
    assert timesteps[0] == 1
    assert set(np.diff(timesteps)) <= {1000 // steps}
    assert timesteps.max() < 1000


def pictures(sampler, prompts, settings, taste=None, **more):
    return [
        np.asarray(image)
        for batch in sampler.sample(prompts, settings, taste, **more)
        for image in batch.images
    ]


def same(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


SHORT = Settings(steps=4, samples=2, iterations=2)


def test_a_run_is_repeatable_and_the_seed_decides(sampler):
    first = pictures(sampler, "a castle", SHORT)
    assert len(first) == 4
    assert first[0].shape == (64, 64, 3)
    assert same(first, pictures(sampler, "a castle", SHORT))
    assert not any(np.array_equal(first[0], other) for other in first[1:])
    assert not same(first, pictures(sampler, "a castle", Settings(steps=4, samples=2, iterations=2, seed=7)))


@pytest.mark.parametrize("scheduler", ["ddim", "plms", "EulerAncestralDiscrete"])
@pytest.mark.parametrize(("fixed_code", "seed_of"), [(False, "image"), (False, "run"), (True, "run")])
def test_one_batch_of_a_run_alone_is_the_same(sampler, scheduler, fixed_code, seed_of):
    settings = Settings(steps=4, samples=2, iterations=3, scheduler=scheduler, fixed_code=fixed_code, eta=0.0)
    whole = list(sampler.sample("a castle", settings, seed_of=seed_of))
    (alone,) = sampler.sample("a castle", settings, only=2, seed_of=seed_of)
    assert alone.number == 2
    assert same([np.asarray(i) for i in alone.images], [np.asarray(i) for i in whole[2].images])


def test_fixed_code_starts_every_batch_from_the_same_noise(sampler):
    first, second = pictures(sampler, "a castle", Settings(steps=4, iterations=2, fixed_code=True))
    assert np.array_equal(first, second)


def test_prompts_from_a_file_fill_batches_in_the_originals_order():
    settings = Settings(samples=2, iterations=2)
    chunks = [("a", "b"), ("c",)]
    assert list(groups(("a", "b", "c"), settings)) == chunks * 2
    assert list(groups("a", settings)) == [("a", "a")] * 2


def test_every_prompt_of_a_batch_has_its_own_picture(sampler):
    (batch,) = sampler.sample(["a castle", "a ship"], Settings(steps=4, samples=2))
    assert batch.prompts == ("a castle", "a ship")
    alone = pictures(sampler, ["a castle", "a castle"], Settings(steps=4, samples=2))
    assert np.array_equal(alone[0], np.asarray(batch.images[0]))
    assert not np.array_equal(alone[1], np.asarray(batch.images[1]))


def test_size_and_guidance(sampler):
    wide = pictures(sampler, "a castle", Settings(steps=2, height=48, width=96))
    assert wide[0].shape == (48, 96, 3)
    settings = Settings(steps=4, guidance_scale=1.0)
    assert not same(pictures(sampler, "a castle", settings), pictures(sampler, "a castle", Settings(steps=4)))
    unguided = Settings(steps=4, guidance_scale=1.0, negative_prompt="fog")
    assert same(pictures(sampler, "a castle", settings), pictures(sampler, "a castle", unguided))


def test_the_negative_prompt_counts(sampler):
    plain, without_fog = Settings(steps=4), Settings(steps=4, negative_prompt="fog")
    assert not same(pictures(sampler, "a castle", plain), pictures(sampler, "a castle", without_fog))


def test_taste_changes_the_picture_and_no_steps_do_not(sampler):
    settings = Settings(steps=4)
    plain = pictures(sampler, "a castle", settings)
    assert same(plain, pictures(sampler, "a castle", settings, taste(steps=0)))
    assert not same(plain, pictures(sampler, "a castle", settings, taste(steps=3)))


def counted(sampler, prompts, settings, tastes) -> int:
    steps = []
    for each in tastes:
        for _ in sampler.sample(prompts, settings, each, on_personalise=lambda *step: steps.append(step)):
            pass
    return len(steps)


def test_a_prompt_is_personalised_once_in_a_run(model_folder):
    fresh = Sampler.load(str(model_folder), device="cpu")
    assert counted(fresh, "a castle", Settings(steps=1, samples=2, iterations=4), [taste(steps=3)]) == 3
    assert counted(fresh, "a castle", Settings(steps=1), [taste(steps=3)]) == 0
    assert counted(fresh, "a castle", Settings(steps=1), [taste(steps=2)]) == 2
    assert counted(fresh, "a castle", Settings(steps=1), [taste(steps=2, lr=1e-2)]) == 2
    assert counted(fresh, ["a ship", "a fox"], Settings(steps=1, samples=2), [taste(steps=2)]) == 4


def test_the_empty_and_the_negative_prompt_are_never_personalised(model_folder):
    fresh = Sampler.load(str(model_folder), device="cpu")
    assert counted(fresh, "", Settings(steps=1, negative_prompt="fog"), [taste()]) == 0
    before = fresh.conditioner.negative("fog").hidden
    assert counted(fresh, "a castle", Settings(steps=1, negative_prompt="fog"), [taste(steps=2)]) == 2
    assert torch.equal(before, fresh.conditioner.negative("fog").hidden)


def test_prompts_of_a_batch_are_personalised_each_on_its_own(sampler):
    together = [sampler.conditioner.prompt(text, taste()) for text in ("a castle", "a ship")]
    alone = Sampler(sampler.model).conditioner.prompt("a ship", taste())
    assert torch.equal(together[1].hidden, alone.hidden)


def test_an_embedding_of_another_size_is_refused(sampler):
    with pytest.raises(EmbeddingSizeError, match=r"is 1x1024 \(ViT-H-14\), .* takes 1x64"):
        next(sampler.sample("a castle", Settings(steps=1), taste(1024)))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(height=50), "--H is 50: it must be a multiple of 8, such as 48 or 56"),
        (Settings(width=4), "--W is 4: it must be a multiple of 8, 8 or more"),
        (Settings(width=-8), "--W is -8"),
        (Settings(steps=0), "--ddim_steps is 0: give 1 to 1000"),
        (Settings(steps=1001), "give 1 to 1000"),
        (Settings(scheduler="fancy"), "unknown scheduler 'fancy'; there are ddim, plms, .*EulerDiscrete"),
        (Settings(scheduler="plms", eta=0.5), "--ddim_eta must be 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(sampler, settings, said):
    with pytest.raises(UsageError, match=said):
        next(sampler.sample("a castle", settings))


@pytest.mark.parametrize("name", [*names(), "DPM++ 2M Karras", "DPM++ 2M SDE Exponential"])
def test_every_scheduler_makes_a_picture_or_says_what_it_lacks(sampler, name):
    for package in {"LMSDiscrete": ["scipy"], "DPMSolverSDE": ["torchsde"]}.get(name, []):
        if find_spec(package) is None:
            with pytest.raises(UsageError, match=f"{name} does not run here.*{package}"):
                next(sampler.sample("a castle", Settings(steps=4, scheduler=name)))
            return
    (picture,) = pictures(sampler, "a castle", Settings(steps=4, scheduler=name))
    assert picture.std() > 0
    assert same([picture], pictures(sampler, "a castle", Settings(steps=4, scheduler=name)))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("PNDMScheduler", "plms"),
        ("PLMS", "plms"),
        (" DDIM ", "ddim"),
        ("euler-ancestral_discrete", "EulerAncestralDiscrete"),
        ("Euler a", "EulerAncestralDiscrete"),
        ("k_euler_a", "EulerAncestralDiscrete"),
        ("euler", "EulerDiscrete"),
        ("unipc", "UniPCMultistep"),
        ("uni_pc", "UniPCMultistep"),
        ("k_dpm_2", "KDPM2Discrete"),
        ("dpmpp_2m", "DPMSolverMultistep"),
        ("dpm++ 2m karras", "DPM++ 2M Karras"),
        ("DPM++_2M_SDE Karras", "DPM++ 2M SDE Karras"),
        ("LMS Exponential", "LMS Exponential"),
        ("DEIS", "DEISMultistep"),
    ],
)
def test_schedulers_go_by_several_names(typed, meant):
    assert canonical(typed) == canonical(meant) == meant


def test_the_schedulers_are_diffusers_own():
    """The list that is known without loading diffusers."""
    import diffusers
    from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers

    theirs = {member.name.removesuffix("Scheduler") for member in KarrasDiffusionSchedulers}
    assert {*OTHERS} == theirs - {"DDIM", "PNDM", "EDMEuler"}
    for name in {*OTHERS} - {"DPMSolverSDE"}:  # it wants torchsde before it says anything
        kind = getattr(diffusers, f"{name}Scheduler")
        assert ("use_karras_sigmas" in inspect.signature(kind).parameters) == (name in SPACED)
    assert build("DPM++ 2M Karras", {}, 4).config.use_karras_sigmas


def test_an_unknown_scheduler_comes_with_the_nearest():
    with pytest.raises(UsageError, match=r"unknown scheduler 'Eular a'; did you mean Euler a or Euler\?"):
        canonical("Eular a")


def test_low_memory_makes_the_same_picture(model_folder, sampler):
    frugal = Sampler.load(str(model_folder), device="cpu", lowvram=True)
    settings = Settings(steps=3, samples=2)
    ours, theirs = (pictures(each, "a castle", settings, taste()) for each in (frugal, sampler))
    # decoding one by one may round a value to its neighbour
    assert np.abs(np.subtract(ours, theirs, dtype=int)).max() <= 1


@pytest.mark.parametrize("scheduler", ["ddim", "plms", "EulerAncestralDiscrete"])
def test_an_image_of_a_run_is_that_of_its_seed_alone(sampler, scheduler):
    """But for the last bit: products of larger matrices are summed in another order."""
    settings = Settings(steps=3, samples=2, iterations=2, seed=9, scheduler=scheduler)
    for number, image in enumerate(pictures(sampler, "a castle", settings)):
        alone = Settings(steps=3, seed=9 + number, scheduler=scheduler)
        (again,) = pictures(sampler, "a castle", alone)
        assert np.abs(np.subtract(image, again, dtype=int)).max() <= 1
        (original,) = pictures(sampler, "a castle", alone, seed_of="run")
        assert np.array_equal(again, original)


def test_with_a_fixed_code_every_batch_has_the_same_seeds():
    assert seeds_of(Settings(samples=2, seed=7, fixed_code=True), 3) == (7, 8)
    assert seeds_of(Settings(samples=2, seed=2**64 - 1), 1) == (1, 2)


def test_noise_can_be_skipped():
    here, there = Noise(3, "cpu", "cpu"), Noise(3, "cpu", "cpu")
    for _ in range(4):
        here.draw(SHAPE)
    there.skip(SHAPE, 4)
    assert torch.equal(here.draw(SHAPE), there.draw(SHAPE))


@pytest.mark.parametrize(("part", "said"), [("unet", "the sampler"), ("vae", "the VAE")])
def test_values_that_are_not_finite_are_no_picture(model_folder, part, said):
    broken = Sampler.load(str(model_folder), device="cpu")
    weights = getattr(broken.model, part)
    (weights.conv_out if part == "unet" else weights.decoder.conv_out).bias.data[0] = float("nan")
    with pytest.raises(SamplingError, match=f"values of {said}"):
        next(broken.sample("a castle", Settings(steps=1)))


def test_a_vae_in_half_precision_is_named_as_the_cause(sampler):
    half = replace(sampler.model, vae=copy.deepcopy(sampler.model.vae).half())
    half.vae.decoder.conv_out.bias.data[0] = float("inf")
    with pytest.raises(SamplingError, match="--precision full"):
        decode(half, torch.randn(1, 4, 8, 8))


class EstimatesV(torch.nn.Module):
    """A UNet of the noise as one that estimates v = sqrt(a) eps - sqrt(1 - a) x0 (arXiv 2202.00512)."""

    def __init__(self, unet, alphas: Tensor) -> None:
        super().__init__()
        self.unet, self.alphas = unet, alphas
        self.config, self.dtype = unet.config, unet.dtype

    def forward(self, latents: Tensor, t: Tensor, **context: Tensor) -> tuple[Tensor]:
        a = self.alphas[int(t)]
        eps = self.unet(latents, t, **context)[0]
        return (a.sqrt() * eps - (1 - a).sqrt() * (latents - (1 - a).sqrt() * eps) / a.sqrt(),)


@pytest.mark.parametrize("scheduler", ["ddim", "DPMSolverMultistep"])  # PLMS averages v, not the noise
def test_a_unet_that_estimates_v_gives_the_same_picture(sampler, scheduler):
    settings = Settings(scheduler=scheduler, steps=5)
    alphas = build_scheduler(sampler.model, Settings()).alphas_cumprod.float()
    v = replace(sampler.model, unet=EstimatesV(sampler.model.unet, alphas))
    expected = next(sampler.sample("a castle", settings)).images[0]
    wrong = next(Sampler(v).sample("a castle", settings)).images[0]
    assert abs(np.int16(wrong) - np.int16(expected)).max() > 20
    for model, prediction in (
        (v, "v"),
        (replace(v, scheduler_config={**v.scheduler_config, "prediction_type": "v_prediction"}), None),
    ):
        image = next(Sampler(model).sample("a castle", replace(settings, prediction=prediction))).images[0]
        assert abs(np.int16(image) - np.int16(expected)).max() <= 1


def test_a_zero_terminal_snr_begins_at_pure_noise(sampler):
    config = {
        **sampler.model.scheduler_config,
        "rescale_betas_zero_snr": True,
        "prediction_type": "v_prediction",
    }
    model = replace(sampler.model, scheduler_config=config)
    for name in ("ddim", "EulerDiscrete", "DPMSolverMultistep"):
        scheduler = build_scheduler(model, Settings(scheduler=name, steps=10))
        assert int(scheduler.timesteps[0]) == 999
        assert scheduler.alphas_cumprod[-1] < 1e-6
    assert next(Sampler(model).sample("a castle", Settings(steps=3))).images[0].size == (64, 64)
    with pytest.raises(
        UsageError, match="zero-terminal-SNR noise schedule, which plms cannot sample; there are ddim"
    ):
        build_scheduler(model, Settings(scheduler="plms"))


def noise_and_v(x, alpha):
    """What a perfect UNet would estimate for images that are all drawn from N(1.3, 0.4)."""
    signal, noise = alpha**0.5, (1 - alpha) ** 0.5
    image = 1.3 + signal * 0.16 / (alpha * 0.16 + noise**2) * (x - signal * 1.3)
    eps = (x - signal * image) / noise
    return eps, signal * eps - noise * image


@pytest.mark.parametrize("steps", [10, 30])
def test_plms_averages_the_noise_also_of_models_that_estimate_v(steps):
    schedule = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    ends = []
    for at, prediction in enumerate(("epsilon", "v_prediction")):
        scheduler = build("plms", {**schedule, "prediction_type": prediction}, steps)
        x = torch.linspace(-2, 2, 9).double()[None, None]
        for t in scheduler.timesteps:
            estimate = noise_and_v(x, float(scheduler.alphas_cumprod[t]))[at]
            x = scheduler.step(estimate, t, x, return_dict=False)[0]
        ends.append(x)
    assert torch.allclose(*ends, atol=1e-5)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_does_not_suffice_says_what_takes_less(model_folder, monkeypatch, error):
    sampler = Sampler.load(str(model_folder), device="cpu")

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(sampler.model.unet, "forward", fails)
    with pytest.raises(
        MemoryShortageError, match=r"a batch of 2 of 64x64 .* --n_samples than 2, .*--H and --W"
    ):
        next(sampler.sample("a castle", Settings(samples=2, steps=1)))
    monkeypatch.setattr("visunex.generate.sampling.sampler.load", fails)
    with pytest.raises(
        MemoryShortageError, match=r"the model does not fit into the memory of cuda: .*--lowvram"
    ):
        Sampler.load(str(model_folder), device="cuda")


def test_a_size_that_no_memory_holds_is_told(model_folder):
    sampler = Sampler.load(str(model_folder), device="cpu")
    with pytest.raises(MemoryShortageError, match="8000000x8000000 does not fit"):
        next(sampler.sample("a castle", Settings(height=8_000_000, width=8_000_000, steps=1)))
