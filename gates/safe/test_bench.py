"""What one run cannot show: variance over seeds, retention by arm, the smallest configuration, the sweep."""

import pytest
from gonogo.fixtures.safe import variants as safe_variants
from gonogo.harness.gate import gate


@pytest.fixture
def measures(bench):
    return bench


@gate("safe.variance.audio")
def test_audio_accuracy_hardly_varies_over_seeds(bench, judge):
    judge(safe_variants.audio_variance(bench()))


@gate("safe.variance.retention")
def test_retention_hardly_varies_and_the_frozen_path_not_at_all(bench, judge):
    judge(safe_variants.retention_variance(bench()))


@gate("safe.retention.distillation")
def test_distillation_halves_the_drift(bench, judge):
    judge(safe_variants.drift(bench(), "with", "without"))


@gate("safe.retention.null_space")
def test_the_null_space_keeps_retention(bench, judge):
    judge(safe_variants.drift(bench(), "null_space", "without"))


@gate("safe.ablation.smallest_config")
def test_the_smallest_configuration_that_meets_the_targets_is_selected(bench, judge):
    judge(safe_variants.smallest(bench()))


@gate("safe.retention.weight_sweep")
def test_weight_and_rates_are_swept_and_chosen_on_dev(bench, judge):
    judge(safe_variants.swept(bench()))
