"""An image encoder in a shorter number format, where the time goes.

What comes before and after a network's trunk (patch embedding or stem, pooling, projection) is a few
hundredths of its work and most of what a mean vector of many images loses: weights that are rounded err the
same way for each image. So it stays in fp32, and so do the norms, as in OpenAI's own models.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["lower"]

_TRUNKS = (("transformer",), ("layer1", "layer2", "layer3", "layer4"))  # of open_clip's ViT and ResNet


def lower(network: "torch.nn.Module", dtype: "torch.dtype") -> "torch.nn.Module":
    """The network of an image encoder, which is in fp32, with its trunk in `dtype`, in place.

    It takes images `[n, 3, size, size]` and gives vectors `[n, D]` in fp32. A network of another kind than
    open_clip's own is all trunk, norms too; its vectors are in `dtype`.
    """
    trunk = next((parts for names in _TRUNKS if (parts := _parts(network, names))), None)
    if trunk is None:
        network.to(dtype)
        trunk = [network]
    else:
        for part in trunk:
            _lower_all_but_norms(part, dtype)
        trunk[-1].register_forward_hook(lambda _module, _given, result: result.float())
    trunk[0].register_forward_pre_hook(lambda _module, given: (given[0].to(dtype), *given[1:]))
    return network


def _parts(network: "torch.nn.Module", names: tuple[str, ...]) -> list[Any]:
    parts = [getattr(network, name, None) for name in names]
    return [] if None in parts else parts


def _lower_all_but_norms(part: "torch.nn.Module", dtype: "torch.dtype") -> None:
    # Not by open_clip's convert_weights_to_lp, which leaves layer scales in fp32: a row that one has touched
    # no longer fits the next matrix.
    from open_clip.transformer import LayerNorm
    from torch import nn

    for module in list(part.modules()):
        for name, child in module.named_children():
            if isinstance(child, LayerNorm):
                module.register_module(name, _norm_in_fp32(child))
        if not isinstance(module, nn.LayerNorm | nn.modules.batchnorm._BatchNorm):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)


def _norm_in_fp32(norm: Any) -> Any:
    """The same norm, with the same weights, taking rows in another format than theirs."""
    from open_clip.transformer import LayerNormFp32

    same = LayerNormFp32(norm.normalized_shape, eps=norm.eps, elementwise_affine=norm.elementwise_affine)
    same.weight, same.bias = norm.weight, norm.bias
    return same.train(norm.training)
