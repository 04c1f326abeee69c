"""An op of pyfast as a ``torch.autograd.Function``, so that PyTorch's graph goes through it."""

from __future__ import annotations

import functools
from typing import Any

from ..autograd import Context
from .frameworks import Kernels

__all__ = ["torch_function"]


@functools.cache
def torch_function(function: Any, kernels: Kernels, torch: Any) -> Any:
    """Make the ``torch.autograd.Function`` of an op.

    Parameters
    ----------
    function : subclass of pyfast's Function
    kernels : Kernels
        Of torch's tensors.
    torch : module

    Returns
    -------
    subclass of torch.autograd.Function
        Its ``apply`` takes what `function` does.
    """

    def forward(ctx: Any, *args: Any) -> Any:
        own = Context()
        own.kernels = kernels
        own.needs_input_grad = ctx.needs_input_grad
        outputs = function.forward(own, *args)
        # Through torch's own save_for_backward: a tensor kept elsewhere would be a reference cycle,
        # and changes in place would go unnoticed.
        tensors = [i for i, a in enumerate(own.saved_tensors) if isinstance(a, torch.Tensor)]
        ctx.save_for_backward(*[own.saved_tensors[i] for i in tensors])
        own.saved_tensors = tuple(
            [None if i in tensors else a for i, a in enumerate(own.saved_tensors)]
        )
        ctx.tensors, ctx.own = tensors, own
        flags = [id(o) in own._non_differentiable for o in _listed(outputs)]
        ctx.mark_non_differentiable(
            *[o for o, off in zip(_listed(outputs), flags, strict=True) if off]
        )
        return outputs

    def backward(ctx: Any, *grads: Any) -> Any:
        saved = list(ctx.own.saved_tensors)
        for i, tensor in zip(ctx.tensors, ctx.saved_tensors, strict=True):
            saved[i] = tensor
        own = Context()
        own.__dict__.update(ctx.own.__dict__)
        own.saved_tensors = tuple(saved)
        return function.backward(own, *grads)

    # once_differentiable: a second derivative would be wrong without a word.
    once = torch.autograd.function.once_differentiable
    members = {"forward": staticmethod(forward), "backward": staticmethod(once(backward))}
    return type(function.__name__.lstrip("_"), (torch.autograd.Function,), members)


def _listed(outputs: Any) -> tuple[Any, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)
