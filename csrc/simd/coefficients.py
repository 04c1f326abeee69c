"""Fits the polynomials of math.h: ``python csrc/simd/coefficients.py``.

Each is the weighted minimax polynomial P of one function g on an interval: it minimises
max |weight (g - P)| by Remez' exchange on a dense grid of Chebyshev points, in 60-digit arithmetic.
The weight turns an error of P into a relative error of the result; log2 of that error is printed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mpmath import (
    atanh,
    cos,
    erf,
    erfc,
    expm1,
    inf,
    log,
    lu_solve,
    matrix,
    mp,
    mpf,
    pi,
    polyval,
    sqrt,
    tanh,
)

mp.dps = 60
Function = Callable[[mpf], mpf]


def remez(
    g: Function, weight: Function, low: mpf, high: mpf, degree: int, points: int = 1200
) -> tuple[list[mpf], mpf]:
    """Return the coefficients, constant first, and the largest weighted error."""
    grid = [(low + high) / 2 - (high - low) / 2 * cos(pi * k / points) for k in range(points + 1)]
    values, weights = [g(x) for x in grid], [weight(x) for x in grid]
    chosen = [round(points * k / (degree + 1)) for k in range(degree + 2)]
    best: tuple[list[mpf], mpf] = ([], inf)
    for _ in range(25):
        rows = [
            [grid[i] ** k for k in range(degree + 1)] + [(-1) ** j / max(weights[i], mpf("1e-30"))]
            for j, i in enumerate(chosen)
        ]
        solution = list(lu_solve(matrix(rows), matrix([values[i] for i in chosen])))
        coefficients = solution[:-1]
        errors = [
            w * (v - polyval(coefficients[::-1], x))
            for x, v, w in zip(grid, values, weights, strict=True)
        ]
        worst = max(abs(e) for e in errors)
        if worst < best[1]:
            best = (coefficients, worst)
        if worst < abs(solution[-1]) * mpf("1.001"):
            break
        chosen = exchange(errors, degree + 2)
    return best


def exchange(errors: list[mpf], count: int) -> list[int]:
    """Return `count` indices of extrema whose signs alternate, the largest ones."""
    peaks: list[int] = []
    for i, e in enumerate(errors):
        if e == 0:
            continue
        if peaks and (errors[peaks[-1]] > 0) == (e > 0):
            if abs(e) > abs(errors[peaks[-1]]):
                peaks[-1] = i
        else:
            peaks.append(i)
    while len(peaks) > count:
        del peaks[0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1]
    return peaks


def report(name: str, g: Function, weight: Function, low: float, high: float, degree: int) -> None:
    """Print one fit as float64 hexadecimal constants."""
    coefficients, error = remez(g, weight, mpf(low), mpf(high), degree)
    print(f"{name}: degree {degree} on [{float(low):.4g}, {float(high):.4g}],", end=" ")
    print(f"error 2^{float(log(error, 2)):.1f}")
    print("   ", ", ".join(f"{float(c)!r}" for c in coefficients))


def report_table(name: str, g: Function, size: int, end: float, degree: int) -> None:
    """Print the coefficients of fits of g around the multiples of a step up to end, a line a power.

    Their argument is the distance in steps, end / (size - 1). The second row is what rounding took
    from the first, the constants. The last constant is raised by half an ulp, so that x g(x), which
    table.h bounds by 1, reaches 1.
    """
    last = size - 1
    step, fits, worst = mpf(end) / last, [], mpf(0)
    for i in range(size):

        def value(u: mpf, i: int = i) -> mpf:
            return g(step * (i + u))

        low, high = (mpf(-0.5) if i else mpf(0)), (mpf(0.5) if i < last else mpf(0.01))
        fit, error = remez(value, lambda u: 1 / value(u), low, high, degree, points=200)
        worst = max(worst, error)
        fits.append(fit)
    fits[last][0] *= 1 + mpf(2) ** -24
    print(f"{name}: degree {degree}, end {end}, error 2^{float(log(worst, 2)):.1f}")
    high = [mpf(float(np.float32(float(f[0])))) for f in fits]
    low = [f[0] - h for f, h in zip(fits, high, strict=True)]
    for row in (high, low, *([f[k] for f in fits] for k in range(1, degree + 1))):
        print("    {" + ", ".join(f"{float(c):#.9g}f" for c in row) + "},")


def main() -> None:
    """Fit everything."""
    half = log(2) / 2 * mpf("1.001")
    root = sqrt(mpf(2))

    def exp_tail(r: mpf) -> mpf:  # (e^r - 1 - r) / r^2
        return (expm1(r) - r) / r**2 if r else mpf(0.5)

    def exp_weight(r: mpf) -> mpf:
        return abs(r**2 / expm1(r)) if r else mpf(0)

    def exp2_ratio(r: mpf) -> mpf:  # (2^r - 1) / r
        return expm1(r * log(2)) / r if r else log(mpf(2))

    def log_tail(f: mpf) -> mpf:  # (log(1 + f) - f) / f^2
        return (log(1 + f) - f) / f**2 if f else mpf(-0.5)

    def log_weight(f: mpf) -> mpf:
        return abs(f**2 / log(1 + f)) if f else mpf(0)

    def atanh_tail(z: mpf) -> mpf:  # 2 (atanh(s)/s - 1) / s^2, z = s^2
        return 2 * (atanh(sqrt(z)) / sqrt(z) - 1) / z if z else mpf(2) / 3

    def tanh_tail(z: mpf) -> mpf:  # (tanh(x)/x - 1) / x^2, z = x^2
        return (tanh(sqrt(z)) / sqrt(z) - 1) / z if z else mpf(-1) / 3

    def erf_ratio(z: mpf) -> mpf:  # erf(x)/x - 1, z = x^2
        return erf(sqrt(z)) / sqrt(z) - 1 if z else 2 / sqrt(pi) - 1

    for degree in (4, 10):
        report("exp", exp_tail, exp_weight, -half, half, degree)
    for degree in (5, 11):
        bound = mpf("0.5005")
        report("exp2", exp2_ratio, lambda r: abs(r) / 2**r, -bound, bound, degree)
    report("log, float", log_tail, log_weight, 1 / root - 1, root - 1, 8)
    report("log, double", atanh_tail, lambda z: z / 2, 0, (3 - 2 * root) ** 2, 6)
    for split, degree in ((1, 6), (0.625, 10)):
        report("tanh", tanh_tail, lambda z: z, 0, split**2, degree)
    for split, degree in ((0.875, 5), (1, 11)):
        report("erf, small", erf_ratio, lambda z: mpf(1), 0, split**2, degree)
    for split, end, degree in ((0.875, 3.93, 6), (1, 5.95, 18)):
        report(
            "erf, large", lambda x: -log(erfc(x)), lambda x: erfc(x) / erf(x), split, end, degree
        )
    report_table("erf, table", lambda x: erf(x) / x if x else 2 / sqrt(pi), 16, 4.0, 5)
    report_table("tanh, table", lambda x: tanh(x) / x if x else mpf(1), 32, 31 / 3.375, 5)


if __name__ == "__main__":
    main()
