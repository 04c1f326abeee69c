"""Frames and log-mel energies; librosa is the oracle."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyfast.audio import frames, log_mel, mel_filterbank, read_wav


def speech(seconds: float = 1.0, rate: int = 16000) -> Any:
    """A chirp with noise: energy in all bands."""
    t = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal(len(t))
    return (np.sin(2 * np.pi * (200 + 3000 * t) * t) + 0.1 * noise).astype(np.float32)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("rate", [16000, 8000, 22050])
def test_log_mel_is_librosas(rate: int) -> None:
    librosa = pytest.importorskip("librosa", reason="librosa is the oracle")
    signal = speech(rate=rate)
    length, hop = round(0.025 * rate), round(0.01 * rate)
    n_fft = 512 if rate == 16000 else 256 if rate == 8000 else 1024
    bank = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=40, htk=True, norm=None)
    np.testing.assert_allclose(mel_filterbank(rate, n_fft, 40), bank, atol=1e-6)
    # librosa centres the window in n_fft samples; energies do not depend on where it stands
    padded = np.pad(signal.astype(np.float64), ((n_fft - length) // 2, n_fft))
    spectrum = librosa.stft(padded, n_fft=n_fft, hop_length=hop, win_length=length, center=False)
    want = np.log(np.maximum(bank @ np.abs(spectrum) ** 2, 1e-10)).T
    got = log_mel(signal, rate, n_mels=40)
    assert got.dtype == np.float32
    assert got.shape == (1 + (rate - length) // hop, 40)
    np.testing.assert_allclose(got, want[: len(got)], atol=1e-4)


def test_a_tone_lights_its_band() -> None:
    rate = 16000
    centres = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 42) / 2595) - 1)[1:-1]
    for band in (10, 25, 38):
        tone = np.sin(2 * np.pi * centres[band] * np.arange(rate) / rate)
        assert (log_mel(tone, rate, n_mels=40).argmax(1) == band).all()


def test_long_signals_go_in_pieces() -> None:
    signal = speech(45.0)
    whole = log_mel(signal)
    assert len(whole) == 4498
    np.testing.assert_array_equal(whole[4096:], log_mel(signal[4096 * 160 :]))


def test_silence_is_the_floor() -> None:
    np.testing.assert_allclose(log_mel(np.zeros(800)), np.log(1e-10), rtol=1e-6)


def test_wav_files(tmp_path: Path) -> None:
    samples = np.array([[0, 0], [100, 300], [-32768, -32768]], "<i2")
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
    signal, rate = read_wav(path)
    assert rate == 8000
    np.testing.assert_allclose(signal, [0, 200 / 32768, -1])
    path.write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"a\.wav is no WAV file"):
        read_wav(path)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
    with pytest.raises(ValueError, match="16-bit samples, got 8 bits"):
        read_wav(path)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: frames(np.zeros(3), 4, 1), ValueError, r"at least 4 samples, got \(3,\)"),
        (lambda: frames(np.zeros((3, 9)), 2, 1), ValueError, r"got \(3, 9\)"),
        (lambda: frames(np.zeros(9), 2, 0), ValueError, "must be positive, got 2 and 0"),
        (lambda: log_mel(np.zeros(800, np.int16)), TypeError, "must be floating, got int16"),
        (lambda: log_mel(np.zeros(800), floor=0), ValueError, "floor must be positive, got 0"),
        (lambda: log_mel(np.zeros(800), n_mels=0), ValueError, "sizes must be positive"),
        (lambda: mel_filterbank(100, 64, 8, 60), ValueError, "low and high"),
    ],
)
def test_bad_input_is_refused(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
