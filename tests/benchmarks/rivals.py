"""Published ways to predict losses from mixtures, fitted as their authors did, for benchmarks to run beside ours."""

import warnings

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import spearmanr

from bimix_sweep.mixture.simplex import Array


def log_linear(
    r: Array,
    y: Array,
    unseen: Array,
    *,
    steps: Array | None = None,
    unseen_steps: Array | None = None,
) -> Array:
    """loss_k = c_k + exp(k_k + t_k . r), with steps times a factor (s / s0)**-b (Data Mixing Laws, arXiv:2403.16952), Huber loss, two starts.

    Args:
        r, y: (n, domains) and (n, targets) losses seen.
        unseen: (m, domains).
        steps, unseen_steps: (n,), (m,); None where all losses are of one step.
    """
    reference = 1.0 if steps is None else float(np.exp(np.log(steps).mean()))
    ls = np.zeros(len(r)) if steps is None else np.log(steps / reference)
    lu = np.zeros(len(unseen)) if unseen_steps is None else np.log(unseen_steps / reference)
    out = np.empty((len(unseen), y.shape[1]))
    for k in range(y.shape[1]):
        target, best = y[:, k], None

        def curve(p: Array, x: Array, z: Array) -> Array:
            return p[0] + np.exp(np.clip(p[1] + x @ p[3:] - p[2] * z, -30, 8))

        for share in (0.3, 0.8):
            low = share * target.min()
            start = np.r_[
                low,
                np.log(target.mean() - low),
                0.0 if steps is None else 0.1,
                np.zeros(r.shape[1]),
            ]
            fit = least_squares(
                lambda p, t=target: curve(p, r, ls) - t,
                start,
                loss="huber",
                f_scale=0.02,
                max_nfev=300,
            )
            best = fit if best is None or fit.cost < best.cost else best
        out[:, k] = curve(best.x, unseen, lu)
    return out


def lightgbm(r: Array, y: Array, unseen: Array) -> Array:
    """Boosted trees per target with the settings of RegMix (arXiv:2407.01492): 1000 rounds at .01, early stop, l1/l2 as there."""
    import lightgbm as lgb

    out = np.empty((len(unseen), y.shape[1]))
    for k in range(y.shape[1]):
        settings = {
            "objective": "regression",
            "metric": "l2",
            "num_leaves": 31,
            "learning_rate": 0.01,
            "verbosity": -1,
            "num_threads": 1,
            "seed": 42,
            "min_data_in_leaf": min(20, max(2, len(r) // 8)),
        }
        out[:, k] = lgb.train(settings, lgb.Dataset(r, y[:, k]), num_boost_round=1000).predict(
            unseen
        )
    return out


def gaussian_process(r: Array, y: Array, unseen: Array) -> Array:
    """A Gaussian process per target on sqrt(r), anisotropic RBF and noise by marginal likelihood (scikit-learn)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    out = np.empty((len(unseen), y.shape[1]))
    kernel = ConstantKernel(1.0) * RBF(np.full(r.shape[1], 1.0), (0.05, 20)) + WhiteKernel(
        1e-2, (1e-6, 1)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for k in range(y.shape[1]):
            model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
            out[:, k] = np.exp(model.fit(np.sqrt(r), np.log(y[:, k])).predict(np.sqrt(unseen)))
    return out


def rank(predicted: Array, measured: Array) -> float:
    """Rank correlation over mixtures, mean over targets."""
    return float(
        np.mean([spearmanr(predicted[:, k], measured[:, k])[0] for k in range(measured.shape[1])])
    )


def error(predicted: Array, measured: Array) -> float:
    """Mean relative error, percent."""
    return float(np.abs(predicted / measured - 1).mean() * 100)
