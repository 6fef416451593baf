"""The data that training and evaluation really see."""

from gonogo.harness.gate import gate


@gate("core.data.schema", needs=["prepared"])
def test_every_row_is_what_the_recipe_declares(prepared, measures, judge):
    judge(measures.data.schema(prepared))


@gate("core.data.split_leakage", needs=["prepared"])
def test_no_sample_group_or_label_leaks_between_splits(prepared, measures, judge):
    judge(measures.data.leakage(prepared))


@gate("core.data.class_balance", needs=["prepared"])
def test_no_class_is_rare_unless_declared(prepared, measures, judge):
    judge(measures.data.balance(prepared))


@gate("core.data.template", needs=["pilot"])
def test_training_and_inference_see_the_same_tokens(pilot, measures, judge):
    judge(measures.tokens.template(pilot))
