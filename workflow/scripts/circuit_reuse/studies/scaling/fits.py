"""Lines over the sizes of a family, with what they do not know."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

LEAST = 3


@dataclass(frozen=True)
class Fit:
    """Least squares of a value on log10 of the parameters."""

    slope: float
    intercept: float
    slope_error: float
    p_value: float
    mean: float
    spread: float
    residual: float
    sizes: int

    @property
    def width(self):
        """Student's t for the band, with sizes - 2 degrees of freedom."""
        return float(stats.t.ppf(0.975, self.sizes - 2))

    def band(self, parameters):
        """The line and its 95 per cent confidence band at some sizes: (middle, low, high)."""
        x = np.log10(np.asarray(parameters, dtype=float))
        middle = self.intercept + self.slope * x
        half = self.width * self.residual * np.sqrt(1 / self.sizes + (x - self.mean) ** 2 / self.spread)
        return middle, middle - half, middle + half


def fit(parameters, values):
    """A line, or why there is none: (Fit or None, problem or None).

    parameters, values: [model] of one family; a value that is nan is left out, and models of one size are one point, their mean:
                        checkpoints and seeds of a size say nothing of another size
    """
    known = np.isfinite(np.asarray(values, dtype=float))
    by_size = (
        pd.Series(np.asarray(values, dtype=float)[known]).groupby(np.asarray(parameters, dtype=float)[known]).mean()
    )
    x, y = np.log10(by_size.index.to_numpy(float)), by_size.to_numpy()
    sizes = len(x)
    if sizes < LEAST:
        word = {0: "no size", 1: "one size"}.get(sizes, f"{sizes} sizes")
        return None, f"{word}: a line needs {LEAST}, so that its error can be estimated"
    line = stats.linregress(x, y)
    residual = np.sqrt(np.sum((y - line.intercept - line.slope * x) ** 2) / (len(x) - 2))
    return Fit(
        float(line.slope),
        float(line.intercept),
        float(line.stderr),
        float(line.pvalue),
        float(x.mean()),
        float(((x - x.mean()) ** 2).sum()),
        float(residual),
        len(x),
    ), None


# Corrected for noise, which small models have more of; and shares, as larger models have more heads.
MEASURES = {
    "corrected": "correlation of the deltas over heads, corrected for attenuation",
    "strong_share": "share of strong heads",
}


def fits(models):
    """Rows of fits.csv: one a family and measure, over the models that can do both tasks.

    models: DataFrame with family, parameters, able, corrected, strong_share
    """
    rows = []
    for family, part in models.groupby("family", sort=False):
        able = part[part["able"].astype(bool)]
        for measure in MEASURES:
            line, problem = fit(able["parameters"], able[measure].astype(float))
            row = {"family": family, "measure": measure, "problem": problem}
            known = able[able[measure].astype(float).notna()]
            row["n_sizes"] = known["parameters"].nunique()
            left = part[~part["able"].astype(bool)]["model"]
            row["left_out"] = ", ".join(left)
            if line:
                half = line.width * line.slope_error
                row |= {
                    "slope": line.slope,
                    "slope_low": line.slope - half,
                    "slope_high": line.slope + half,
                    "intercept": line.intercept,
                    "p_value": line.p_value,
                }
            rows.append(row)
    return rows
