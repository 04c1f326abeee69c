"""The functional API: `torch.nn.functional`'s names, arguments and defaults.

Arrays in, the same kind of array out: `numpy.ndarray`, `pyfast.Tensor` (recorded on the tape),
`torch.Tensor` on the CPU (zero-copy), lists and anything NumPy can take. Every name in ``__all__``
is an op, and every op has a record in tests/cases.
"""

from .attention import scaled_dot_product_attention
from .dropout import alpha_dropout, dropout, dropout1d, dropout2d
from .embedding import embedding, one_hot
from .loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from .softmax import log_softmax, softmax

__all__ = [
    # attention
    "scaled_dot_product_attention",
    # dropout
    "alpha_dropout",
    "dropout",
    "dropout1d",
    "dropout2d",
    # embedding
    "embedding",
    "one_hot",
    # loss
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
    # softmax
    "log_softmax",
    "softmax",
]
