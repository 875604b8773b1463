"""The suite's own network: text-guided saliency from frozen unimodal weights."""

from saltext.models.grounded_gaze.eye import Eye
from saltext.models.grounded_gaze.network import GroundedGaze
from saltext.models.grounded_gaze.views import TwoViews

__all__ = ["Eye", "GroundedGaze", "TwoViews"]
