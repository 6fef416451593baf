"""What one run cannot show: variance over seeds, retention by arm, the smallest configuration, the sweep."""

import pytest
from gonogo.fixtures.safe import variants as safe_variants
from gonogo.harness.gate import gate


@pytest.fixture
def measures(campaign):
    return campaign


@gate("safe.variance.audio", needs=["safe.variance"])
def test_audio_accuracy_hardly_varies_over_seeds(campaign, judge):
    judge(safe_variants.audio_variance(campaign))


@gate("safe.variance.retention", needs=["safe.variance"])
def test_retention_hardly_varies_and_the_frozen_path_not_at_all(campaign, judge):
    judge(safe_variants.retention_variance(campaign))


@gate("safe.retention.distillation", needs=["safe.retention"])
def test_distillation_halves_the_drift(campaign, judge):
    judge(safe_variants.drift(campaign, "with", "without"))


@gate("safe.retention.null_space", needs=["safe.retention"])
def test_the_null_space_keeps_retention(campaign, judge):
    judge(safe_variants.drift(campaign, "null_space", "without"))


@gate("safe.ablation.smallest_config", needs=["safe.ablation"])
def test_the_smallest_configuration_that_meets_the_targets_is_selected(campaign, judge):
    judge(safe_variants.smallest(campaign))


@gate("safe.retention.weight_sweep", needs=["safe.sweep"])
def test_weight_and_rates_are_swept_and_chosen_on_dev(campaign, judge):
    judge(safe_variants.swept(campaign))
