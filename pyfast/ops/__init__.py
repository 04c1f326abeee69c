"""The functional API: `torch.nn.functional`'s names, arguments and defaults.

Arrays in, the same kind of array out: `numpy.ndarray`, `pyfast.Tensor` (recorded on the tape),
`torch.Tensor` on the CPU (zero-copy), lists and anything NumPy can take. Every name in ``__all__``
is an op, and every op has a record in tests/cases.
"""

from .activation import (
    celu,
    elu,
    gelu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    logsigmoid,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
)
from .attention import scaled_dot_product_attention
from .avg_pool import adaptive_avg_pool1d, adaptive_avg_pool2d, avg_pool1d, avg_pool2d
from .conv import conv1d, conv2d, conv_transpose1d, conv_transpose2d, fold, unfold
from .dropout import alpha_dropout, dropout, dropout1d, dropout2d
from .embedding import embedding, one_hot
from .gated import glu, prelu, softmin
from .linear import linear, matmul
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
from .max_pool import adaptive_max_pool1d, adaptive_max_pool2d, max_pool1d, max_pool2d
from .norm import batch_norm, group_norm, instance_norm, layer_norm, rms_norm
from .pad import pad
from .softmax import log_softmax, softmax
from .varlen import varlen_attn

__all__ = [
    # activation
    "celu",
    "elu",
    "gelu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    # conv
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "fold",
    "unfold",
    # attention
    "scaled_dot_product_attention",
    "varlen_attn",
    # dropout
    "alpha_dropout",
    "dropout",
    "dropout1d",
    "dropout2d",
    # embedding
    "embedding",
    "one_hot",
    # linear
    "linear",
    "matmul",
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
    # pool
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "max_pool1d",
    "max_pool2d",
    # pad
    "pad",
    # norm
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "rms_norm",
    # softmax
    "log_softmax",
    "softmax",
]
