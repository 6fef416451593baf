"""transformers + peft as a server, and the measure over it, on tiny random models."""

import time
from collections import defaultdict
from random import Random

import pytest
from gonogo.fixtures.lora.sabotage import serving as sabotage
from gonogo.methods.measures import serving
from gonogo.methods.run import NotObservable
from gonogo.methods.serving import campaign, contract, engine, models_of, peft_engine
from gonogo.methods.serving.contract import Deployment, Request, UnknownAdapter
from gonogo.methods.tasks import models, rows
from safetensors.torch import load_file, save_file

from tests.methods.drawn_adapters import adapters

PROMPTS = [(2, 9, 10, 11), (2, 12), (2, 13, 14, 15, 16, 17)]


@pytest.fixture(scope="module")
def decoders(tmp_path_factory, llama, data):
    return adapters(tmp_path_factory.mktemp("decoders"), llama, data, 4, {})


@pytest.fixture(scope="module")
def encoders(tmp_path_factory, bert, data):
    return adapters(
        tmp_path_factory.mktemp("encoders"), bert, data, 2, {"modules_to_save": ["classifier"]}
    )


@pytest.fixture(scope="module")
def held(decoders):
    """Name → folder, as a deployment takes them."""
    return {f"adapter{n}": run.artifact for n, run in enumerate(decoders)}


def alone(deployment, folder, new_tokens=5):
    return [answer.tokens for answer in offline(deployment, folder, new_tokens)]


def offline(deployment, folder, new_tokens=5):
    return models_of.reference(
        deployment, folder, [Request(prompt, "") for prompt in PROMPTS], new_tokens
    )


def test_a_mixed_batch_gives_each_request_its_own_adapters_answer(llama, held):
    deployment = Deployment(llama, dict(list(held.items())[:2]))
    asked = [Request(prompt, name) for name in deployment.names for prompt in PROMPTS]
    with engine("peft")(deployment) as server:
        seen = [answer.tokens for answer in server.serve(asked, 5)]
        assert server.holds() == ["adapter0", "adapter1"]
        assert server.memory().peak >= server.memory().rss > 1e7
    wanted = [alone(deployment, folder) for folder in (None, held["adapter0"], held["adapter1"])]
    assert seen == [answer for each in wanted for answer in each]
    assert len({tuple(each) for each in wanted}) == 3


@pytest.mark.parametrize("name", ["adapter1", "adapter0", "base"])
def test_a_batch_for_one_name_is_answered_by_it_whatever_came_before(llama, held, name):
    deployment = Deployment(llama, dict(list(held.items())[:2]))
    with engine("peft")(deployment) as server:
        server.serve([Request(PROMPTS[0], "adapter1")], 5)
        seen = [
            answer.tokens
            for answer in server.serve([Request(prompt, name) for prompt in PROMPTS], 5)
        ]
    assert seen == alone(deployment, held.get(name))


def test_a_merged_server_holds_no_adapter_and_answers_as_it(llama, held):
    with engine("peft")(Deployment(llama, merged=held["adapter2"])) as server:
        assert server.holds() == []
        assert [
            a.tokens for a in server.serve([Request(prompt, "merged") for prompt in PROMPTS], 5)
        ] == alone(server.deployment, held["adapter2"])
        with pytest.raises(UnknownAdapter, match="adapter0"):
            server.serve([Request(PROMPTS[0], "adapter0")], 5)


def test_the_end_of_text_does_not_shorten_an_answer(llama, tmp_path):
    """The head is bent so that the end of text would always be chosen."""
    folder = tmp_path / "llama"
    folder.mkdir()
    for file in llama.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][3] = 0
    weights["lm_head.weight"][[n for n in range(48) if n != 3]] *= 1e-3
    weights["model.norm.weight"] *= 0
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with engine("peft")(Deployment(folder)) as server:
        assert {len(a.tokens) for a in server.serve([Request(p, "base") for p in PROMPTS], 7)} == {
            7
        }


def test_a_classification_answers_with_the_class_and_logits_of_its_adapter(encoders, bert):
    folders = {"a": encoders[0].artifact, "b": encoders[1].artifact}
    deployment = Deployment(bert, folders, task="classification", labels=("no", "yes"))
    with engine("peft")(deployment) as server:
        seen = server.serve(
            [Request(prompt, name) for name in ("a", "b", "base") for prompt in PROMPTS], 16
        )
    wanted = [
        answer
        for folder in (folders["a"], folders["b"], None)
        for answer in offline(deployment, folder)
    ]
    assert [answer.tokens for answer in seen] == [answer.tokens for answer in wanted]
    for own, other in zip(seen, wanted, strict=True):
        assert own.scores == pytest.approx(other.scores, abs=1e-5)
    assert len({answer.scores for answer in wanted}) == 9


def test_the_token_types_of_a_pair_reach_the_model(encoders, bert):
    deployment = Deployment(
        bert, {"a": encoders[0].artifact}, task="classification", labels=("no", "yes")
    )
    asked = [
        Request((2, 9, 3, 10, 3), "a", (0, 0, 0, 1, 1)),
        Request((2, 9, 3, 10, 11, 3), "a", (0, 0, 0, 1, 1, 1)),
    ]
    plain = [Request(request.prompt, "a") for request in asked]
    with engine("peft")(deployment) as server:
        typed, untyped = server.serve(asked, 1), server.serve(plain, 1)
    for answer, other, wanted in zip(
        typed, untyped, models_of.reference(deployment, encoders[0].artifact, asked, 1), strict=True
    ):
        assert answer.scores == pytest.approx(wanted.scores, abs=1e-5)
        assert answer.scores != pytest.approx(other.scores, abs=1e-3)


def test_a_server_that_breaks_says_so(llama, tmp_path):
    with (
        pytest.raises(RuntimeError, match="peft server"),
        engine("peft")(Deployment(llama, {"a": tmp_path})),
    ):
        pass


def test_an_engine_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match=r"'tgi'.*peft, llama\.cpp, vllm, ollama"):
        engine("tgi")


# ── the measure ──────────────────────────────────────────────────────────────────────────────────────────────────────
SHORT = {
    "restarts": 1,
    "batch": 4,
    "new_tokens": 4,
    "blocks": 4,
    "most": 4,
    "aa_blocks": 2,
    "warmup": 0,
    "prompts": 4,
}
FINE = {
    "not_interleaved": 0,
    "wrong_adapter": 0,
    "other_token_count": 0,
    "constant_answers": 0,
    "other_adapters_held": 0,
}


def worst(report):
    return {name: max(report["values"][name]) for name in FINE}


def test_each_arm_has_one_number_per_block_and_nothing_is_wrong(decoders):
    report = serving.latency(*decoders, adapters=(2, 4), **SHORT)
    assert worst(report) == FINE
    assert min(report["values"]["agreement"]) == 1
    arms = {"merged", "merged_again", "base", "adapters_2", "adapters_4"}
    for name in ("latency_p50", "latency_p95", "first_token", "throughput", "processor"):
        assert {arm: len(report["values"][f"{name}@{arm}"]) for arm in arms} == dict.fromkeys(
            arms, 4
        )
    assert {arm: len(report["values"][f"peak_bytes@{arm}"]) for arm in arms} == dict.fromkeys(
        arms, 1
    )
    assert set(report["values"]) == set(report["unit"])
    assert report["digests"]["engine"].startswith("peft ")
    assert report["digests"]["device"] == models_of.device(1)[1]


def test_a_classification_is_measured_by_requests(encoders):
    report = serving.latency(*encoders, adapters=(2,), **SHORT)
    assert worst(report) == FINE


def test_all_arms_of_a_block_get_the_same_prompts_and_every_adapter_is_asked(decoders):
    arms = serving.deployments(decoders, (2, 4), 1, "fp32")
    asked = serving.requests(serving.pool(decoders, 6), arms, 8, Random(0))
    for block in range(5):
        prompts = {
            tuple(request.prompt for request in requests) for requests in asked(block).values()
        }
        assert len(prompts) == 1
        assert {request.adapter for request in asked(block)["adapters_4"]} == {
            f"adapter{n}" for n in range(4)
        }
        assert {request.adapter for request in asked(block)["merged"]} == {"merged"}
    assert asked(0) != asked(1)
    assert asked(0) == asked(0)


def test_a_prompt_ends_where_the_answer_begins(decoders):
    recipe, data = decoders[0].recipe, decoders[0].data
    tokenizer, row = models.load_tokenizer(recipe), rows.read(data, "test")[0]
    assert serving.pool(decoders[:1], 3)[0].prompt == tuple(rows.split_answer(row, tokenizer)[0])


def test_short_answers_are_seen(decoders, monkeypatch):
    honest = peft_engine.Held.answer
    monkeypatch.setattr(
        peft_engine.Held,
        "answer",
        lambda self, prompts, kinds, names, new: honest(self, prompts, kinds, names, new - 1),
    )
    assert (
        worst(serving.latency(*decoders[:2], adapters=(2,), **SHORT))["other_token_count"]
        == 4 * 4 * 4
    )


@pytest.fixture
def plant(monkeypatch):
    """Plants a defect of fixtures/lora/sabotage/serving.py and takes it out again."""
    for owner, name in (
        (contract, "named"),
        (campaign, "turn"),
        (campaign, "order"),
        (serving, "deployments"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    return lambda name: getattr(sabotage, name)({"kind": "measure"})


@pytest.mark.parametrize(
    ("defect", "metric"),
    [
        ("adapter_not_requested", "wrong_adapter"),
        ("constant_predictions", "constant_answers"),
        ("comparator_unmerged", "other_adapters_held"),
        ("sequential_under_drift", "not_interleaved"),
    ],
)
def test_a_planted_defect_of_a_generation_is_seen(decoders, plant, defect, metric):
    plant(defect)
    report = serving.latency(*decoders[:2], adapters=(2,), **SHORT)
    assert worst(report)[metric] > 0
    assert report["findings"]


@pytest.mark.parametrize(
    ("defect", "metric"),
    [
        ("adapter_not_requested", "wrong_adapter"),
        ("constant_predictions", "constant_answers"),
        ("comparator_unmerged", "other_adapters_held"),
    ],
)
def test_a_planted_defect_of_a_classification_is_seen(encoders, plant, defect, metric):
    plant(defect)
    assert worst(serving.latency(*encoders, adapters=(2,), **SHORT))[metric] > 0


def test_two_equal_servers_timed_one_after_the_other_under_drift_differ(
    decoders, plant, monkeypatch
):
    def turn(server, arm, block, requests, new_tokens):
        now = time.perf_counter()
        return campaign.Turn(
            block, arm, now, now + 0.001, tuple(requests), (contract.Answer((1,), 0.001, 0.0005),)
        )

    monkeypatch.setattr(campaign, "turn", turn)
    plant("sequential_under_drift")
    report = serving.aa(
        decoders[0], batch=2, new_tokens=2, blocks=12, restarts=1, warmup=0, prompts=4
    )
    assert report["values"]["not_interleaved"] == [12]
    assert report["counts"]["a_a_during_low"] > 1.15


def test_adapters_that_all_answer_alike_are_vetoed():
    report = serving.checked([], {"base": {(1,): contract.Answer((1,), 0, 0)}}, "adapter0", 1)
    assert "cannot be seen" in report["vetoes"][0]


@pytest.mark.parametrize(
    ("slow", "blocks", "quiet"), [(0, 4, True), (2, 19, True), (10**9, 34, False)]
)
def test_more_blocks_are_run_while_the_two_copies_differ_and_then_they_are_not_believed(
    decoders, monkeypatch, slow, blocks, quiet
):
    calls = defaultdict(int)

    def turn(server, arm, block, requests, new_tokens):
        calls[arm] += 1
        late = (
            0.3 * (calls[arm] % 2)
            if arm == "merged_again" and calls[arm] <= slow
            else 0.001 * (calls[arm] % 3)
        )
        return campaign.Turn(
            block,
            arm,
            time.perf_counter(),
            time.perf_counter(),
            (),
            (contract.Answer((1,), 1.0 + late, 0.1),),
        )

    monkeypatch.setattr(campaign, "turn", turn)
    seen = serving.until_quiet(
        dict.fromkeys(("merged", "merged_again")),
        lambda _: defaultdict(list),
        range(4),
        34,
        0.05,
        1,
        Random(0),
    )
    assert len({turn.block for turn in seen}) == blocks
    assert (serving.busy_host("now", seen, 0.05) == []) == quiet


def test_more_adapters_than_runs_or_runs_of_two_bases_are_not_observable(decoders, encoders):
    with pytest.raises(NotObservable, match="2 runs"):
        serving.latency(*decoders[:2], adapters=(4,))
    with pytest.raises(NotObservable, match="different bases"):
        serving.latency(decoders[0], encoders[0], adapters=(2,))


def test_servers_are_started_anew_in_parts_and_blocks_are_added_until_it_is_enough():
    asked = iter([False, True])
    parts = list(serving.pieces(10, 3, 40, lambda: next(asked)))
    assert parts == [range(3), range(3, 6), range(6, 10), range(10, 25)]
    assert list(serving.pieces(2, 6, 2, lambda: False)) == [range(1), range(1, 2)]


def test_each_part_has_servers_of_its_own(encoders, monkeypatch):
    made = []
    started = serving.started
    monkeypatch.setattr(serving, "started", lambda *args: made.append(1) or started(*args))
    report = serving.aa(
        encoders[0], batch=2, new_tokens=2, blocks=4, restarts=2, warmup=0, prompts=4
    )
    assert len(made) == 2
    assert report["counts"]["blocks"] == 4
    assert report["values"]["not_interleaved"] == [0]
