"""A moving copy of a CLIP text encoder, written for few rows on few cores, where a step's time goes.

The same mathematics as transformers' CLIP text model (Radford et al., arXiv 2103.00020). Four things differ,
and change nothing but rounding:

- each matrix takes its Adam step during the backward pass, in pieces that the processor's cache holds: no
  gradient makes the trip to memory and back;
- a product of a few rows by a large matrix is shared out among the cores by hand: BLAS leaves much to one;
- the last block computes the one row that the text feature is read from;
- keys and values are one matrix, all vectors are one vector: fewer and larger operations.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import SteeringError

__all__ = ["MovingTextEncoder"]

_PIECE = 3 * 2**19  # values of a matrix that step together: with their gradient 6 MB
_NARROWEST = 64  # columns of a product that are worth a core of their own
_AT_ONCE = 8  # fp32 values in a vector of the processor: other numbers of rows leave some of it idle


class _Adam:
    """The rate of the steps, and how many were taken (Kingma & Ba, arXiv 1412.6980)."""

    def __init__(self, lr: float, device: torch.device) -> None:
        self.lr, self.taken = lr, torch.zeros((), device=device)


class _Moving:
    """An fp32 value and the moments of its gradient."""

    def __init__(self, value: Tensor, adam: _Adam) -> None:
        self.value, self._adam = value, adam
        self._first, self._second = torch.zeros_like(value), torch.zeros_like(value)

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        """Take one step down `gradient`, in place."""
        # What torch.optim.Adam(fused=True) calls: its own way there takes longer than a small value's step.
        torch._fused_adam_(
            [self.value],
            [gradient],
            [self._first],
            [self._second],
            [],
            [self._adam.taken],
            lr=self._adam.lr,
            beta1=0.9,
            beta2=0.999,
            weight_decay=0.0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )


class _Leaf(_Moving):
    """A value that autograd differentiates by; it steps as soon as it has its gradient."""

    def __init__(self, value: Tensor, adam: _Adam) -> None:
        super().__init__(value.detach().float().clone().requires_grad_(), adam)
        self.value.register_post_accumulate_grad_hook(self._take)

    def _take(self, value: Tensor) -> None:
        if value.grad is not None:
            self.step(value.grad)
            value.grad = None


class _Steps:
    """The steps of matrices, taken while the backward pass goes on: on a CPU by a second thread.

    Each of the two has half of the cores, which BLAS makes better use of than of all for so small products.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_cpu = device.type == "cpu"
        self._buffers = [torch.empty(_PIECE) for _ in range(2)] if self._on_cpu else []
        self._waiting: SimpleQueue[Callable[[], None] | None] | None = None

    @contextlib.contextmanager
    def meanwhile(self) -> Iterator[None]:
        """Take the steps that come up in the block; at its end all are taken."""
        threads = torch.get_num_threads()
        if not self._on_cpu or threads < 2:
            yield
            return
        self._waiting = SimpleQueue()
        torch.set_num_threads(threads // 2)
        try:
            with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(threads // 2,)) as second:
                try:
                    taken = second.submit(self._take)
                    yield
                finally:
                    for _ in ("the second thread's end", "this one's"):
                        self._waiting.put(None)
                    self._take()
            taken.result()
        finally:
            self._waiting = None
            torch.set_num_threads(threads)

    def later(self, value: _Moving, gradient: Tensor, rows: Tensor) -> None:
        """Step down the value's gradient, which is `gradient.T @ rows` of `[N, out]` and `[N, in]`."""
        step = partial(self._step, value, gradient, rows)
        if self._waiting is None:
            step()
        else:
            self._waiting.put(step)

    def _take(self) -> None:
        while self._waiting is not None and (step := self._waiting.get()) is not None:
            step()

    @torch.no_grad()
    def _step(self, value: _Moving, gradient: Tensor, rows: Tensor) -> None:
        if not self._on_cpu:
            value.step(gradient.T @ rows)
            return
        buffer = self._buffers.pop()  # the same memory over and over, so that it is in the cache already
        own = buffer[: value.value.numel()].view_as(value.value)
        value.step(torch.mm(gradient.T, rows, out=own))
        self._buffers.append(buffer)


class _Matrix:
    """The matrix `[out, in]` of linear layers, which steps in the backward pass of its one product."""

    def __init__(self, layers: Sequence[nn.Linear], steps: _Steps, adam: _Adam) -> None:
        value = torch.cat([layer.weight.detach().float() for layer in layers])
        threads = torch.get_num_threads() if value.device.type == "cpu" else 1
        self.bands = _in_bands(value, threads)
        self.transposed = _in_bands(value.T, threads // 2)
        count = -(-len(value) // (_PIECE // value.shape[1])) if value.device.type == "cpu" else 1
        self._pieces = [_Moving(piece, adam) for piece in value.chunk(count)]
        self._heights = [len(piece.value) for piece in self._pieces]
        self._steps = steps

    def __call__(self, rows: Tensor, bias: Tensor) -> Tensor:
        """`[N, in]` to `[N, out]`."""
        moved: Tensor = _Linear.apply(rows, bias, self)
        return moved

    def step(self, gradient: Tensor, rows: Tensor) -> None:
        """Step down the matrix's gradient, which is `gradient.T @ rows` of `[N, out]` and `[N, in]`."""
        for piece, part in zip(self._pieces, gradient.split(self._heights, dim=1), strict=True):
            self._steps.later(piece, part, rows)


class _Linear(torch.autograd.Function):
    """`rows @ matrix.T + bias`, whose backward pass gives both gradients and then lets the matrix step."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, bias: Tensor, matrix: _Matrix) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.matrix = matrix
        return _product(rows, matrix.bands).add_(bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (rows,) = ctx.saved_tensors
        of_rows = _product(gradient, ctx.matrix.transposed)
        ctx.matrix.step(gradient, rows)
        return of_rows, gradient.sum(0), None


def _in_bands(matrix: Tensor, threads: int) -> Tensor:
    """`matrix` `[out, in]` seen as `[bands, in, out / bands]`: at most one band for each thread."""
    most = min(threads, len(matrix) // _NARROWEST)
    count = next((count for count in range(most, 1, -1) if len(matrix) % count == 0), 1)
    return matrix.unflatten(0, (count, -1)).transpose(1, 2)


def _product(rows: Tensor, bands: Tensor) -> Tensor:
    """`rows @ matrix.T` `[N, out]` of `rows` `[N, in]` and a matrix `_in_bands`."""
    if len(bands) == 1:
        return rows @ bands[0]
    parts = torch.bmm(rows.expand(len(bands), -1, -1), bands)
    return parts.transpose(0, 1).reshape(len(rows), -1)


@dataclass(frozen=True)
class _Block:
    """The matrices of a residual block (pre-norm attention, then MLP), and what else it needs to know."""

    query: _Matrix
    key_value: _Matrix
    out: _Matrix
    up: _Matrix
    down: _Matrix
    activation: Any
    heads: int
    epsilon: float

    def __call__(self, rows: Tensor, vectors: Sequence[Tensor], wanted: slice) -> Tensor:
        """The rows `wanted` of the block's result, of all rows `[N, D]` up to the last one wanted."""
        norm, norm_bias, query, key_value, out, norm_2, norm_2_bias, up, down = vectors
        normed = _norm(rows, norm, norm_bias, self.epsilon)
        attended = self._attention(self.query(normed[wanted], query), self.key_value(normed, key_value))
        rows = rows[wanted] + self.out(attended, out)
        normed = _norm(rows, norm_2, norm_2_bias, self.epsilon)
        return rows + self.down(self.activation(self.up(normed, up)), down)

    def _attention(self, queries: Tensor, keys_values: Tensor) -> Tensor:
        """Causal; a single query is the last row's, which sees all of them."""
        query = queries.unflatten(1, (1, self.heads, -1)).permute(1, 2, 0, 3)
        key, value = keys_values.unflatten(1, (2, 1, self.heads, -1)).permute(1, 2, 3, 0, 4)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=len(queries) > 1)
        return attended[0].transpose(0, 1).flatten(1)


class MovingTextEncoder:
    """fp32 values in the place of a CLIP text model's own, which are never written to.

    Of the token table only the rows `token_ids` are kept; ids given to the methods number those rows.
    Raises SteeringError for a model whose layers are not CLIP's.
    """

    def __init__(self, text_model: Any, token_ids: Tensor, lr: float) -> None:
        self._adam = _Adam(lr, token_ids.device)
        self._steps = _Steps(token_ids.device)
        try:
            tables, norm = text_model.embeddings, text_model.final_layer_norm
            layers = text_model.encoder.layers
            self._blocks = [_block(layer, self._steps, self._adam) for layer in layers]
            vectors = [vector for layer in layers for vector in _vectors(layer)] + [norm.weight, norm.bias]
            words, places = tables.token_embedding.weight[token_ids], tables.position_embedding.weight
        except AttributeError as error:
            raise SteeringError(f"this is no CLIP text model of transformers: {error}") from None
        self._tokens, self._places = _Leaf(words, self._adam), _Leaf(places, self._adam)
        self._sizes = [len(vector) for vector in vectors]
        self._vectors = _Leaf(torch.cat([vector.float() for vector in vectors]), self._adam)
        self._epsilon: float = norm.eps

    def feature(self, ids: Tensor, end: int) -> Tensor:
        """Row `end` `[D]` of the last hidden state for `ids` `[L]`: the text feature, not yet projected."""
        cut = ids[: -(-(end + 1) // _AT_ONCE) * _AT_ONCE]
        *_, row = self._states(cut, slice(end, end + 1), len(self._blocks))
        return self._norm(row)[0]

    def step(self, loss: Tensor) -> None:
        """Move every value by one Adam step down the gradient of `loss`, which was made of a `feature`."""
        self._adam.taken += 1
        with self._steps.meanwhile():
            loss.backward()

    @torch.no_grad()
    def hidden(self, ids: Tensor, skipped: int = 0) -> Tensor:
        """The hidden state `[L, D]` for `ids` `[L]` that `skipped` blocks have not seen, not yet normed."""
        *_, rows = self._states(ids, slice(None), len(self._blocks) - skipped)
        return rows

    @torch.no_grad()
    def normed(self, rows: Tensor) -> Tensor:
        """`rows` `[N, D]` under the final norm."""
        return self._norm(rows)

    def _states(self, ids: Tensor, wanted: slice, blocks: int) -> Iterator[Tensor]:
        """The rows before the first block and after each of so many; after the last only those `wanted`."""
        rows = self._tokens.value[ids] + self._places.value[: len(ids)]
        yield rows
        vectors = self._vectors.value.split(self._sizes)
        for number, block in enumerate(self._blocks[:blocks], start=1):
            rows, asked = (rows[: wanted.stop], wanted) if number == blocks else (rows, slice(None))
            rows = block(rows, vectors[_VECTORS * (number - 1) : _VECTORS * number], asked)
            yield rows

    def _norm(self, rows: Tensor) -> Tensor:
        weight, bias = self._vectors.value.split(self._sizes)[-2:]
        return _norm(rows, weight, bias, self._epsilon)


def _norm(rows: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    return F.layer_norm(rows, weight.shape, weight, bias, epsilon)


def _block(layer: Any, steps: _Steps, adam: _Adam) -> _Block:
    attention, mlp = layer.self_attn, layer.mlp
    return _Block(
        query=_Matrix([attention.q_proj], steps, adam),
        key_value=_Matrix([attention.k_proj, attention.v_proj], steps, adam),
        out=_Matrix([attention.out_proj], steps, adam),
        up=_Matrix([mlp.fc1], steps, adam),
        down=_Matrix([mlp.fc2], steps, adam),
        activation=mlp.activation_fn,
        heads=attention.num_heads,
        epsilon=layer.layer_norm1.eps,
    )


_VECTORS = 9  # of a block


def _vectors(layer: Any) -> list[Tensor]:
    attention = layer.self_attn
    return [
        layer.layer_norm1.weight,
        layer.layer_norm1.bias,
        attention.q_proj.bias,
        torch.cat([attention.k_proj.bias, attention.v_proj.bias]),
        attention.out_proj.bias,
        layer.layer_norm2.weight,
        layer.layer_norm2.bias,
        layer.mlp.fc1.bias,
        layer.mlp.fc2.bias,
    ]
