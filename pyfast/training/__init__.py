"""The training loop and its pieces: fit, checkpoints that resume bit for bit, history, stopping."""

from .checkpoint import TrainingState, load_checkpoint, save_checkpoint
from .divergence import DivergenceError, first_non_finite
from .evaluate import evaluate, predict
from .history import History
from .stopping import EarlyStopping
from .trainer import Trainer, fit

__all__ = [
    "DivergenceError",
    "EarlyStopping",
    "History",
    "Trainer",
    "TrainingState",
    "evaluate",
    "first_non_finite",
    "fit",
    "load_checkpoint",
    "predict",
    "save_checkpoint",
]
