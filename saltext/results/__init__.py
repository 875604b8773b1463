"""What runs found, as numbers: score table, history, intervals and comparisons, text ablation, text-swap test,
calibration, studies. Nothing here prints, draws or writes pages.

>>> saltext.results.compare(["outputs/run/A", "outputs/run/B"])  # doctest: +SKIP
"""

from saltext.results.comparison import compare
from saltext.results.run_record import read_history
from saltext.results.score_table import read_scores

__all__ = ["compare", "read_history", "read_scores"]
