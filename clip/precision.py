"""A tower in a shorter number format, where the time goes.

What comes before and after a tower's trunk (patch embedding or stem, pooling, projection) is a few hundredths
of its work and most of what a mean vector of many pictures loses: weights that are rounded err the same way
for each picture. So it stays in fp32, and so do the norms, as OpenAI's towers had them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["lower"]

_TRUNKS = (("transformer",), ("layer1", "layer2", "layer3", "layer4"))  # of open_clip's ViT and ResNet


def lower(tower: "torch.nn.Module", dtype: "torch.dtype") -> "torch.nn.Module":
    """The image tower, which is in fp32, with its trunk in `dtype`, in place.

    It takes pictures `[n, 3, size, size]` and gives vectors `[n, D]` in fp32. A tower of another kind than
    open_clip's own is all trunk, norms too; its vectors are in `dtype`.
    """
    trunk = next((parts for names in _TRUNKS if (parts := _parts(tower, names))), None)
    if trunk is None:
        tower.to(dtype)
        trunk = [tower]
    else:
        for part in trunk:
            _lower_all_but_norms(part, dtype)
        trunk[-1].register_forward_hook(lambda _module, _given, result: result.float())
    trunk[0].register_forward_pre_hook(lambda _module, given: (given[0].to(dtype), *given[1:]))
    return tower


def _parts(tower: "torch.nn.Module", names: tuple[str, ...]) -> list[Any]:
    parts = [getattr(tower, name, None) for name in names]
    return [] if None in parts else parts


def _lower_all_but_norms(part: "torch.nn.Module", dtype: "torch.dtype") -> None:
    # Not by open_clip's convert_weights_to_lp, which leaves layer scales in fp32: a row that one has touched
    # no longer fits the next matrix.
    from open_clip.transformer import LayerNorm, LayerNormFp32
    from torch import nn

    for module in part.modules():
        if isinstance(module, LayerNorm):
            module.__class__ = LayerNormFp32  # which takes rows in another format than its weights'
        elif not isinstance(module, nn.LayerNorm | nn.modules.batchnorm._BatchNorm):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
