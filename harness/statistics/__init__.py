"""How sure we are: every interval that a verdict may rest on. Pure functions of plain numbers."""

from gonogo.harness.statistics.clustered import clustered_limits as clustered_limits
from gonogo.harness.statistics.composite import composite_p as composite_p
from gonogo.harness.statistics.correlates import correlation_limits as correlation_limits
from gonogo.harness.statistics.correlates import permutation_test as permutation_test
from gonogo.harness.statistics.crossed import Crossed as Crossed
from gonogo.harness.statistics.crossed import hierarchical_limits as hierarchical_limits
from gonogo.harness.statistics.crossed import planned_power as planned_power
from gonogo.harness.statistics.crossed import two_way_limits as two_way_limits
from gonogo.harness.statistics.decision import Decision as Decision
from gonogo.harness.statistics.decision import Region as Region
from gonogo.harness.statistics.decision import Side as Side
from gonogo.harness.statistics.decision import decide as decide
from gonogo.harness.statistics.decision import p_inside as p_inside
from gonogo.harness.statistics.interval import Interval as Interval
from gonogo.harness.statistics.limits import log_ratio_limits as log_ratio_limits
from gonogo.harness.statistics.limits import mean_limits as mean_limits
from gonogo.harness.statistics.limits import proportion_limits as proportion_limits
from gonogo.harness.statistics.limits import quantile_limits as quantile_limits
from gonogo.harness.statistics.limits import quantile_needs as quantile_needs
from gonogo.harness.statistics.limits import sd_limits as sd_limits
from gonogo.harness.statistics.limits import wilson_limits as wilson_limits
from gonogo.harness.statistics.paired import paired_mean_limits as paired_mean_limits
from gonogo.harness.statistics.paired import tango_limits as tango_limits
from gonogo.harness.statistics.resampling import bca_difference as bca_difference
from gonogo.harness.statistics.resampling import bca_limits as bca_limits
from gonogo.harness.statistics.signflip import sign_flip_test as sign_flip_test
