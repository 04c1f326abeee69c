"""Speech as a sequence of vectors: energies of mel bands, in 25 ms frames every 10 ms."""

from __future__ import annotations

import os
import wave
from typing import Any

import numpy as np

__all__ = ["frames", "log_mel", "mel_filterbank", "read_wav"]

Array = np.ndarray[Any, Any]


def read_wav(path: str | os.PathLike[str]) -> tuple[Array, int]:
    """Read a WAV file of 16-bit samples, its channels averaged.

    Parameters
    ----------
    path : path

    Returns
    -------
    signal : array of shape (samples,), float32 in [-1, 1)
    sample_rate : int
        Samples a second.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no WAV file of 16-bit samples.
    """
    try:
        with wave.open(os.fspath(path), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as problem:
        raise ValueError(f"read_wav: {path} is no WAV file: {problem}") from None
    if width != 2:
        raise ValueError(f"read_wav: {path} must have 16-bit samples, got {8 * width} bits")
    samples = np.frombuffer(data, "<i2").astype(np.float32) / 32768
    return samples.reshape(-1, channels).mean(1), rate


def frames(signal: Any, frame_length: int, hop_length: int) -> Array:
    """Overlapping pieces of a signal; what is left at the end is dropped.

    Parameters
    ----------
    signal : array of shape (samples,)
    frame_length, hop_length : int
        Samples of a frame, and from one to the next.

    Returns
    -------
    array of shape (1 + (samples - frame_length) // hop_length, frame_length)
        A read-only view.

    Raises
    ------
    ValueError
        If the signal is not 1-D or shorter than a frame, or a length is not positive.

    Examples
    --------
    >>> frames(np.arange(7), frame_length=4, hop_length=2)
    array([[0, 1, 2, 3],
           [2, 3, 4, 5]])
    """
    signal = np.asarray(signal)
    if frame_length < 1 or hop_length < 1:
        raise ValueError(
            f"frames: frame_length and hop_length must be positive, "
            f"got {frame_length} and {hop_length}"
        )
    if signal.ndim != 1 or len(signal) < frame_length:
        raise ValueError(
            f"frames: signal must have shape (samples,) with at least {frame_length} samples, "
            f"got {signal.shape}"
        )
    windows = np.lib.stride_tricks.sliding_window_view(signal, frame_length)
    view: Array = windows[::hop_length]
    return view


def _mel(hertz: Any) -> Any:
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


def _hertz(mel: Any) -> Any:
    return 700 * (10 ** (np.asarray(mel) / 2595) - 1)


def mel_filterbank(
    sample_rate: int,
    n_fft: int,
    n_mels: int = 80,
    low: float = 0.0,
    high: float | None = None,
) -> Array:
    r"""Triangles on the mel scale, :math:`m = 2595 \log_{10}(1 + f / 700)`.

    (Stevens, Volkmann and Newman, 1937; this formula is O'Shaughnessy's, 1987.) Neighbours
    overlap by half, and each peaks at 1.

    Parameters
    ----------
    sample_rate, n_fft : int
    n_mels : int
        Bands.
    low, high : float
        Hertz; `high` defaults to half the sample rate.

    Returns
    -------
    array of shape (n_mels, n_fft // 2 + 1), float64

    Raises
    ------
    ValueError
        If a size is not positive or 0 <= low < high <= sample_rate / 2 does not hold.

    Examples
    --------
    >>> mel_filterbank(16000, 512, n_mels=40).shape
    (40, 257)
    """
    high = sample_rate / 2 if high is None else high
    if min(sample_rate, n_fft, n_mels) < 1:
        raise ValueError(
            f"mel_filterbank: sizes must be positive, got {sample_rate}, {n_fft} and {n_mels}"
        )
    if not 0 <= low < high <= sample_rate / 2:
        raise ValueError(
            f"mel_filterbank: low and high must lie in [0, {sample_rate / 2}], got {low} and {high}"
        )
    corners = _hertz(np.linspace(_mel(low), _mel(high), n_mels + 2))
    bins = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    left, centre, right = (corners[i : i + n_mels, None] for i in range(3))
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    bank: Array = np.maximum(0, np.minimum(rising, falling))
    return bank


def log_mel(
    signal: Any,
    sample_rate: int = 16000,
    n_mels: int = 80,
    frame_seconds: float = 0.025,
    hop_seconds: float = 0.010,
    floor: float = 1e-10,
) -> Array:
    r"""The logarithm of a signal's energy in mel bands, frame by frame.

    .. math:: y_{tm} = \log \max\left(\sum_f B_{mf} |\hat{x}_{tf}|^2, \varepsilon\right)

    with the spectrum of each Hann-windowed frame (Davis and Mermelstein, *IEEE Transactions on
    Acoustics, Speech, and Signal Processing* 28 (4), 1980).

    Parameters
    ----------
    signal : array of shape (samples,), floating
    sample_rate : int
        Samples a second.
    n_mels : int
    frame_seconds, hop_seconds : float
        25 ms every 10 ms.
    floor : float
        The least energy, in place of silence.

    Returns
    -------
    array of shape (frames, n_mels), float32

    Raises
    ------
    TypeError
        If the signal is not floating.
    ValueError
        If it is not 1-D or shorter than a frame, or a setting is not positive.

    Examples
    --------
    >>> log_mel(np.zeros(16000, np.float32)).shape
    (98, 80)
    """
    signal = np.asarray(signal)
    if signal.dtype.kind != "f":
        raise TypeError(f"log_mel: signal must be floating, got {signal.dtype}")
    if not floor > 0:
        raise ValueError(f"log_mel: floor must be positive, got {floor}")
    length, hop = round(frame_seconds * sample_rate), round(hop_seconds * sample_rate)
    pieces = frames(signal, length, hop)
    n_fft = 1 << (length - 1).bit_length()
    bank = mel_filterbank(sample_rate, n_fft, n_mels)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    features = np.empty((len(pieces), n_mels), np.float32)
    for start in range(0, len(pieces), 4096):  # an hour of speech need not fit as spectra
        spectrum = np.fft.rfft(pieces[start : start + 4096] * window, n_fft)
        energy = np.square(spectrum.real) + np.square(spectrum.imag)
        features[start : start + 4096] = np.log(np.maximum(energy @ bank.T, floor))
    return features
