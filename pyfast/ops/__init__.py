"""The functional API: `torch.nn.functional`'s names, arguments and defaults.

Arrays in, the same kind of array out: `numpy.ndarray`, `pyfast.Tensor` (recorded on the tape),
`torch.Tensor` on the CPU (zero-copy), lists and anything NumPy can take. Every name in ``__all__``
is an op, and every op has a record in tests/cases.
"""

from .softmax import log_softmax, softmax

__all__ = [
    # softmax
    "log_softmax",
    "softmax",
]
