"""Sounds, images, questions: the data that an audio-visual adapter is trained and judged on."""

from gonogo.harness.gate import gate


@gate("safe.data.files_load", needs=["prepared"])
def test_sounds_and_images_load_and_no_split_knows_another(prepared, measures, judge):
    judge(measures.safe.data.files_load(prepared))


@gate("safe.data.av_alignment", needs=["prepared"])
def test_what_is_heard_is_what_the_row_says(prepared, measures, judge):
    judge(measures.safe.data.alignment(prepared))


@gate("safe.data.curriculum_sampling", needs=["pilot"])
def test_the_sampled_rows_follow_the_curriculum(pilot, measures, judge):
    judge(measures.safe.curriculum.sampling(pilot))
