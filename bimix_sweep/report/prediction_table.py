"""Table of the predicted losses of the optimum, with the weights of the targets."""

from bimix_sweep.mixture.goals import PLAIN, ranged
from bimix_sweep.report.data import ReportData
from bimix_sweep.report.tables import table


def prediction_table(data: ReportData) -> str:
    """Table of the predicted losses, one row for each target, each in the target's own unit."""
    if data.optimum is None:
        return ""
    predicted, counted = data.optimum.predicted_losses, ranged(data.goals)
    weights = data.weights or dict.fromkeys(predicted, 1.0)
    total = sum(weights.values())
    rows = [
        [
            target,
            f"{value:.4g}",
            f"{data.optimum.predicted_sd[target]:.2g}",
            f"{weights.get(target, 0.0) / total:.3g}",
            *([data.goals.get(target, PLAIN).words] if counted else []),
        ]
        for target, value in predicted.items()
    ]
    return table(
        "Predicted losses of the law's optimum, with the standard deviation of each prediction",
        ["target", "predicted", "sd", "weight", *(["goal"] if counted else [])],
        rows,
    )
