"""The Hessian of a loss, through its products with vectors: eigenvalues, spectrum, sharpness.

Nothing of size n × n is stored unless it is asked for. A product costs two gradients (see
:meth:`pyfast.analysis.objective.Objective.product`); extreme eigenvalues come from ARPACK's
implicitly restarted Lanczos method, the density from stochastic Lanczos quadrature.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from ..extras import require_extra
from .objective import Objective

__all__ = [
    "ExtremeEigenvalues",
    "HessianSpectrum",
    "hessian",
    "hessian_eigenvalues",
    "hessian_spectrum",
    "hessian_vector_product",
    "sharpness",
]

Array = np.ndarray[Any, Any]

DENSE_UP_TO = 200  # below, n products and a dense solver cost less than Lanczos and give all


class Products:
    """The Hessian at an objective's start as an operator that counts and shows its products."""

    def __init__(
        self,
        objective: Objective,
        exact: Callable[[Array], Any] | None = None,
        progress: bool | None = None,
    ) -> None:
        from tqdm import tqdm

        self.objective = objective
        self.size = objective.size
        self.count = 0
        self._exact = exact
        hidden = None if progress is None else not progress
        self._bar = tqdm(desc=objective.op, unit=" products", disable=hidden, delay=1)

    def __enter__(self) -> Products:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def __call__(self, vector: Array, widen: float = 1.0) -> Array:
        self.count += 1
        self._bar.update()
        vector = np.asarray(vector, np.float64).reshape(-1)
        if self._exact is None:
            result = self.objective.product(vector, widen=widen)
        else:
            result = np.asarray(self._exact(vector), np.float64)
            if result.shape != vector.shape:
                raise ValueError(
                    f"{self.objective.op}: hvp must return shape {vector.shape}, got {result.shape}"
                )
        if not np.isfinite(result).all():
            raise ValueError(f"{self.objective.op}: a Hessian-vector product is not finite")
        return result

    def dense(self) -> Array:
        """The whole Hessian, made symmetric."""
        matrix = np.stack([self(unit) for unit in np.eye(self.size)])
        return 0.5 * (matrix + matrix.T)

    def error(self, rng: np.random.Generator) -> float:
        """How far products of two step widths lie apart, for a random unit vector."""
        if self._exact is not None:
            return 0.0
        v = unit_vector(rng, self.size)
        return float(np.linalg.norm(self(v) - self(v, widen=2.0)))


def unit_vector(rng: np.random.Generator, n: int) -> Array:
    """A direction drawn uniformly from the unit sphere."""
    v = rng.standard_normal(n)
    return v / np.linalg.norm(v)


@dataclass(frozen=True)
class ExtremeEigenvalues:
    """The ends of a Hessian's spectrum.

    Attributes
    ----------
    smallest, largest : array of shape (k,)
        Both ascending.
    smallest_vectors, largest_vectors : array of shape (n, k)
        Unit eigenvectors, one a column.
    every : array of shape (n,), or None
        All eigenvalues, where n was small enough for a dense solver.
    products : int
        Hessian-vector products that it took.
    """

    smallest: Array
    largest: Array
    smallest_vectors: Array
    largest_vectors: Array
    every: Array | None
    products: int


def extreme_eigenvalues(
    products: Products, k: int, tol: float, rng: np.random.Generator
) -> ExtremeEigenvalues:
    """The k smallest and k largest eigenvalues, densely where n is small."""
    n = products.size
    if n <= max(DENSE_UP_TO, 2 * k + 1):
        values, vectors = np.linalg.eigh(products.dense())
        ends = (values[:k], values[n - k :], vectors[:, :k], vectors[:, n - k :])
        return ExtremeEigenvalues(*ends, values, products.count)
    largest, upper = lanczos(products, k, tol, unit_vector(rng, n))
    # The smallest are the largest of sI - H: ARPACK's tolerance is relative to the eigenvalue it
    # seeks, and one near zero would never satisfy it.
    shift = max(float(largest[-1]), 0.0)
    rest, lower = lanczos(lambda v: shift * v - products(v), k, tol, unit_vector(rng, n))
    return ExtremeEigenvalues(
        (shift - rest)[::-1], largest, lower[:, ::-1], upper, None, products.count
    )


def lanczos(
    product: Callable[[Array], Array], k: int, tol: float, start: Array
) -> tuple[Array, Array]:
    """The k largest eigenvalues, ascending, and their vectors, by ARPACK."""
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    n = start.size
    matrix = LinearOperator((n, n), matvec=product, dtype=np.float64)
    wide = min(n, max(2 * k + 1, 40))
    try:
        values, vectors = eigsh(matrix, k, which="LA", v0=start, tol=tol, ncv=wide)
    except ArpackNoConvergence as problem:
        raise RuntimeError(
            f"Lanczos did not converge to {tol} for n={n}, k={k}; take a larger tol"
        ) from problem
    order = np.argsort(values)
    return values[order], vectors[:, order]


def checked_count(op: str, name: str, value: Any, largest: int | None = None) -> int:
    """An int from 1 to `largest`, or a ValueError that says so."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{op}: {name} must be an int, got {value!r}") from None
    if number < 1 or (largest is not None and number > largest):
        bound = "positive" if largest is None else f"from 1 to the {largest} parameters"
        raise ValueError(f"{op}: {name} must be {bound}, got {number}")
    return number


def hessian_vector_product(loss: Callable[[], Any], params: Any, vector: Any) -> Any:
    r"""The Hessian of a loss times a vector, Hv, by a central difference of two gradients.

    .. math:: Hv \approx \frac{\nabla L(\theta + \epsilon v) - \nabla L(\theta - \epsilon v)}
        {2\epsilon}, \qquad \epsilon = \frac{\sqrt[3]{u}\,\max(1, \|\theta\|)}{\|v\|}

    with u the rounding unit of float64 (Nocedal and Wright, *Numerical Optimization*, section
    8.1). Relative errors are about 1e-9 where the loss is smooth.

    Parameters
    ----------
    loss : callable
        Without arguments; computes the loss, a Tensor of one element, from the parameters.
    params : Module, Tensor, or iterable or mapping of Tensors, float64
        Those that do not require grad are left out; n elements together.
    vector : array of shape (n,), or one array for each parameter, of its shape

    Returns
    -------
    array of shape (n,), or list of arrays, as `vector` was given

    Raises
    ------
    TypeError
        If parameters are not float64 Tensors, or `loss` does not return a Tensor.
    ValueError
        If no parameter requires grad, the loss is not one finite number that repeats itself,
        or `vector` has another size.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = pf.Tensor(np.array([1.0, 2.0]), requires_grad=True)
    >>> loss = lambda: x[0] ** 2 * x[1]
    >>> pf.analysis.hessian_vector_product(loss, x, np.array([1.0, 0.0])).round(6)
    array([4., 2.])
    """
    op = "hessian_vector_product"
    with Objective(op, loss, params) as objective:
        pieces = isinstance(vector, list | tuple) and np.ndim(vector[0]) > 0
        flat = objective.flat(vector) if pieces else np.asarray(vector, np.float64)
        if flat.shape != (objective.size,):
            raise ValueError(f"{op}: vector must have shape ({objective.size},), got {flat.shape}")
        objective.checked_start()
        result = objective.product(flat)
        return objective.shaped(result) if pieces else result


def hessian(loss: Callable[[], Any], params: Any, *, progress: bool | None = None) -> Array:
    """The whole Hessian, one product for each parameter.

    Parameters
    ----------
    loss : callable
        Without arguments; computes the loss, a Tensor of one element, from the parameters.
    params : Module, Tensor, or iterable or mapping of Tensors, float64
    progress : bool, optional
        Show a bar. Default: in a terminal, after a second.

    Returns
    -------
    array of shape (n, n), float64
        Symmetric. Rows are parameters laid end to end.

    Raises
    ------
    TypeError, ValueError
        As :func:`hessian_vector_product`; also for more than 20,000 parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = pf.Tensor(np.array([1.0, 2.0]), requires_grad=True)
    >>> pf.analysis.hessian(lambda: x[0] ** 2 * x[1], x).round(6)
    array([[4., 2.],
           [2., 0.]])
    """
    with Objective("hessian", loss, params) as objective:
        if objective.size > 20_000:
            raise ValueError(
                f"hessian: params must hold at most 20000 elements, got {objective.size}; "
                "hessian_eigenvalues needs no matrix"
            )
        objective.checked_start()
        with Products(objective, None, progress) as products:
            return products.dense()


def hessian_eigenvalues(
    loss: Callable[[], Any],
    params: Any,
    k: int = 1,
    *,
    tol: float = 1e-5,
    hvp: Callable[[Array], Any] | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> ExtremeEigenvalues:
    """The smallest and largest eigenvalues of a loss's Hessian, with eigenvectors.

    ARPACK's implicitly restarted Lanczos method (Lehoucq, Sorensen and Yang, 1998) on
    Hessian-vector products; up to 200 parameters a dense solver.

    Parameters
    ----------
    loss : callable
        Without arguments; computes the loss, a Tensor of one element, from the parameters.
    params : Module, Tensor, or iterable or mapping of Tensors, float64
    k : int
        How many at each end.
    tol : float
        Residual ‖Hv - λv‖ at which an eigenvalue is taken, relative to the spectrum's largest; its
        error is no larger, and usually the square of it.
    hvp : callable, optional
        Takes a flat vector and returns the Hessian times it, where an exact one is known.
    seed : int
        Of the first Lanczos vector.
    progress : bool, optional
        Show a bar. Default: in a terminal, after a second.

    Returns
    -------
    ExtremeEigenvalues

    Raises
    ------
    TypeError, ValueError
        As :func:`hessian_vector_product`; also if `k` is not from 1 to the number of parameters.
    ImportError
        If SciPy is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = pf.Tensor(np.zeros(3), requires_grad=True)
    >>> ends = pf.analysis.hessian_eigenvalues(lambda: (x * x * [1.0, -2.0, 3.0]).sum(), x)
    >>> ends.smallest.round(6), ends.largest.round(6)
    (array([-4.]), array([6.]))
    """
    op = "hessian_eigenvalues"
    require_extra(op, ["scipy"], "analysis")
    with Objective(op, loss, params) as objective:
        k = checked_count(op, "k", k, objective.size)
        objective.checked_start()
        with Products(objective, hvp, progress) as products:
            return extreme_eigenvalues(products, k, tol, np.random.default_rng(seed))


def sharpness(
    loss: Callable[[], Any],
    params: Any,
    *,
    tol: float = 1e-4,
    seed: int = 0,
    progress: bool | None = None,
) -> float:
    """The largest eigenvalue of the Hessian: how sharp the minimum is in its steepest direction.

    Gradient descent is stable only for learning rates below 2 / sharpness (Cohen et al.,
    "Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability", ICLR 2021).

    Parameters
    ----------
    loss : callable
        Without arguments; computes the loss, a Tensor of one element, from the parameters.
    params : Module, Tensor, or iterable or mapping of Tensors, float64
    tol : float
        Relative accuracy.
    seed : int
        Of the first Lanczos vector.
    progress : bool, optional
        Show a bar. Default: in a terminal, after a second.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError, ImportError
        As :func:`hessian_eigenvalues`.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = pf.Tensor(np.zeros(3), requires_grad=True)
    >>> round(pf.analysis.sharpness(lambda: (x * x * [1.0, 2.0, 3.0]).sum(), x), 6)
    6.0
    """
    require_extra("sharpness", ["scipy"], "analysis")
    with Objective("sharpness", loss, params) as objective:
        objective.checked_start()
        with Products(objective, None, progress) as products:
            if objective.size <= 20:
                return float(np.linalg.eigvalsh(products.dense())[-1])
            start = unit_vector(np.random.default_rng(seed), objective.size)
            return float(lanczos(products, 1, tol, start)[0][-1])


@dataclass(frozen=True)
class HessianSpectrum:
    """The density of a Hessian's eigenvalues, as points with weights.

    Attributes
    ----------
    nodes, weights : array of shape (probes, steps)
        Quadrature nodes of each probe vector, ascending, and weights that sum to 1.
    size : int
        Number of parameters, n: a weight w stands for n w eigenvalues.
    """

    nodes: Array
    weights: Array
    size: int

    def density(self, points: int = 400, width: float | None = None) -> tuple[Array, Array]:
        """The density on a grid, each node widened to a normal distribution.

        Parameters
        ----------
        points : int
            Of the grid.
        width : float, optional
            Standard deviation. Default: 1 % of the spectrum's length.

        Returns
        -------
        eigenvalues, density : array of shape (points,)
            The density integrates to 1.

        Examples
        --------
        >>> import numpy as np
        >>> spectrum = HessianSpectrum(np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]]), 2)
        >>> x, y = spectrum.density(width=0.1)
        >>> round(float(y.sum() * (x[1] - x[0])), 3)
        1.0
        """
        low, high = float(self.nodes.min()), float(self.nodes.max())
        width = max(high - low, 1e-12 + 1e-3 * abs(high)) * 0.01 if width is None else width
        grid = np.linspace(low - 4 * width, high + 4 * width, points)
        distance = (grid[:, None] - self.nodes.ravel()) / width
        bells = np.exp(-0.5 * distance**2) / (width * np.sqrt(2 * np.pi))
        return grid, bells @ self.weights.ravel() / len(self.weights)

    def moment(self, power: int) -> float:
        """The mean of the eigenvalues' powers: ``moment(1) * n`` is the trace.

        Parameters
        ----------
        power : int

        Returns
        -------
        float

        Examples
        --------
        >>> import numpy as np
        >>> HessianSpectrum(np.array([[0.0, 2.0]]), np.array([[0.5, 0.5]]), 2).moment(2)
        2.0
        """
        return float((self.weights * self.nodes**power).sum() / len(self.weights))

    def share_below(self, value: float) -> float:
        """The share of eigenvalues below a value: the index, as a fraction, for 0.

        Parameters
        ----------
        value : float

        Returns
        -------
        float
            From 0 to 1.

        Examples
        --------
        >>> import numpy as np
        >>> HessianSpectrum(np.array([[-1.0, 2.0]]), np.array([[0.5, 0.5]]), 2).share_below(0)
        0.5
        """
        return float(self.weights[self.nodes < value].sum() / len(self.weights))


def hessian_spectrum(
    loss: Callable[[], Any],
    params: Any,
    *,
    probes: int = 8,
    steps: int = 60,
    hvp: Callable[[Array], Any] | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> HessianSpectrum:
    """The density of all eigenvalues of a loss's Hessian, by stochastic Lanczos quadrature.

    From each random probe, `steps` Lanczos iterations give a Gauss quadrature of the spectrum
    (Golub and Welsch, 1969; for networks Ghorbani, Krishnan and Xiao, "An Investigation into
    Neural Net Optimization via Hessian Eigenvalue Density", ICML 2019). Exact for polynomials of
    degree below 2 `steps`, up to the probes' randomness.

    Parameters
    ----------
    loss : callable
        Without arguments; computes the loss, a Tensor of one element, from the parameters.
    params : Module, Tensor, or iterable or mapping of Tensors, float64
    probes, steps : int
        Costs their product in Hessian-vector products. At most n steps are made.
    hvp : callable, optional
        Takes a flat vector and returns the Hessian times it, where an exact one is known.
    seed : int
        Of the probes.
    progress : bool, optional
        Show a bar. Default: in a terminal, after a second.

    Returns
    -------
    HessianSpectrum

    Raises
    ------
    TypeError, ValueError
        As :func:`hessian_vector_product`; also if `probes` or `steps` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = pf.Tensor(np.zeros(4), requires_grad=True)
    >>> loss = lambda: 0.5 * (x * x * [-1.0, -1.0, 1.0, 3.0]).sum()
    >>> spectrum = pf.analysis.hessian_spectrum(loss, x, probes=200)
    >>> round(spectrum.share_below(0), 1)
    0.5
    """
    op = "hessian_spectrum"
    with Objective(op, loss, params) as objective:
        probes = checked_count(op, "probes", probes)
        steps = min(checked_count(op, "steps", steps), objective.size)
        objective.checked_start()
        rng = np.random.default_rng(seed)
        with Products(objective, hvp, progress) as products:
            pairs = [_quadrature(products, steps, rng) for _ in range(probes)]
    nodes, weights = (np.stack(parts) for parts in zip(*pairs, strict=True))
    return HessianSpectrum(nodes, weights, objective.size)


def _quadrature(products: Products, steps: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Nodes and weights of one probe, padded with its last node at weight 0."""
    diagonal, beside = _tridiagonal(products, steps, rng)
    matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
    nodes, vectors = np.linalg.eigh(matrix)
    missing = steps - len(nodes)
    return (
        np.concatenate([nodes, np.full(missing, nodes[-1])]),
        np.concatenate([vectors[0] ** 2, np.zeros(missing)]),
    )


def _tridiagonal(products: Products, steps: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Lanczos with full reorthogonalisation; ends early in an invariant subspace."""
    basis = np.empty((steps, products.size))
    basis[0] = unit_vector(rng, products.size)
    diagonal: list[float] = []
    beside: list[float] = []
    for j in range(steps):
        w = products(basis[j])
        diagonal.append(float(basis[j] @ w))
        for _ in range(2):  # twice is enough (Parlett, The Symmetric Eigenvalue Problem, 6.9)
            w -= basis[: j + 1].T @ (basis[: j + 1] @ w)
        length = float(np.linalg.norm(w))
        if j + 1 == steps or length <= 1e-8 * max(map(abs, diagonal + beside), default=0.0):
            break
        beside.append(length)
        basis[j + 1] = w / length
    return np.array(diagonal), np.array(beside)
