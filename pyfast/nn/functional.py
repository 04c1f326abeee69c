"""``nn.functional`` is :mod:`pyfast.ops` under the name that PyTorch users look for."""

from ..ops import *  # noqa: F403
from ..ops import __all__ as __all__
