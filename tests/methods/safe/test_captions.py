"""Caption metrics against values of the reference library, closed forms, a naive CIDEr-D, and the measure that gathers the checks.

How the stored values were made: pycocoevalcap 1.2 (numpy 2.4.6, Python 3.11, OpenJDK 17) in an environment of its own.
TOKENS: tokenizer.ptbtokenizer.PTBTokenizer on each text. CIDER and safe_metrics.CIDER: cider.cider.Cider().compute_score on the texts
as they stand, plain enough to need no tokeniser; aac-metrics 0.6.0's cider_d gave the same safe_metrics.CIDER. On 3,000
SQuAD questions, 175 instructions and 14 of the texts below this tokeniser gave what the Java one gave on all but 3 of 3,189, which
hold markup such as <mask>.
"""

import math
import sys
import types
from collections import Counter

import pytest
from gonogo.methods.run import NotObservable
from gonogo.methods.safe import captions, distillation, vqa
from gonogo.methods.safe.measures import metrics as safe_metrics

TOKENS = {
    "A man's dog doesn't bark, but it (loudly) growls; 3.5 times - well-known \"noise\"!": "a man 's dog does n't bark but it -lrb- loudly -rrb- growls 3.5 times well-known noise",
    "Water is running... then a door closes.": "water is running then a door closes",
    "The engine's idling: it can't start.": "the engine 's idling it ca n't start",
    "People talk & laugh, 1,000 voices at 5:30 p.m.": "people talk & laugh 1,000 voices at 5:30 p.m.",
    "they're cheering, we've heard 'hello' twice": "they 're cheering we 've heard hello twice",
    "a U.S. train horn blows -- loudly": "a u.s. train horn blows loudly",
    "gonna rain? cannot say": "gon na rain can not say",
    "dogs' barking [distant] {faint} rock'n'roll": "dogs barking -lsb- distant -rsb- -lcb- faint -rcb- rock 'n' roll",
    "A 50% louder hum costs $5 / hour": "a 50 % louder hum costs $ 5 / hour",
    "Mr. Smith's car revs (vroom)": "mr. smith 's car revs -lrb- vroom -rrb-",
    "birds chirp,and wind blows": "birds chirp and wind blows",
    "o'clock bells; I'll go, he'd stay, it isn't on": "o'clock bells i 'll go he 'd stay it is n't on",
    "clicking/clacking noises": "clicking/clacking noises",
    "it's the 1990s. The end.": "it 's the 1990s the end",
    "X.25 had a simpler what?": "x. 25 had a simpler what",
    "What was D'olier's first name?": "what was d'olier 's first name",
}

CIDER = [
    (
        [
            "a dog barks",
            "a dog",
            "",
            "rain falls hard on a tin roof while thunder rolls in the distance",
            "wind",
        ],
        [
            ["a dog barks loudly", "dog barking"],
            ["a dog"],
            ["silence"],
            ["rain on a roof", "rain falls on a tin roof"],
            ["wind blows in the trees"],
        ],
        [3.0380627658723185, 5.0, 0.0, 1.317209042782648, 0.8952516325243105],
    ),
    (["a bell", "a bell"], [["a bell", "bell a"], ["the bell rings"]], None),
]
"""Of the second the naive reference below is the judge."""

published = {"name": "SAFE table", "cider": 88.5, "spice": 16.5, "spider": 52.5}


def naive(candidates, references):
    """CIDEr-D term by term from the paper, over the union of n-grams, one n at a time."""
    scores = []
    for candidate, held in zip(candidates, references, strict=True):
        total = 0.0
        for reference in held:
            for n in (1, 2, 3, 4):

                def counts(text, n=n):
                    words = text.split()
                    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

                def weight(gram, text, counts=counts):
                    holders = sum(any(gram in counts(t) for t in texts) for texts in references)
                    return counts(text)[gram] * (
                        math.log(len(references)) - math.log(max(1, holders))
                    )

                every = set(counts(candidate)) | set(counts(reference))
                a, b = ([weight(gram, text) for gram in every] for text in (candidate, reference))
                size = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
                dot = sum(min(x, y) * y for x, y in zip(a, b, strict=True))
                words = [len(text.split()) for text in (candidate, reference)]
                total += (
                    (dot / size if size else 0) * math.exp(-((words[0] - words[1]) ** 2) / 72) / 4
                )
        scores.append(10 * total / len(held))
    return scores


@pytest.mark.parametrize(("text", "wanted"), TOKENS.items())
def test_words_are_parted_as_by_ptbtokenizer(text, wanted):
    assert " ".join(captions.tokenise(text)) == wanted


def test_cider_is_the_library_s():
    assert captions.cider(safe_metrics.CANDIDATES, safe_metrics.REFERENCES) == pytest.approx(
        safe_metrics.CIDER, abs=1e-12
    )
    assert sum(safe_metrics.CIDER) / 5 == pytest.approx(1.8108236382004779, abs=1e-12)
    candidates, references, wanted = CIDER[0]
    assert captions.cider(candidates, references) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(
    ("candidates", "references", "_"),
    [*CIDER, (safe_metrics.CANDIDATES, safe_metrics.REFERENCES, None)],
)
def test_cider_is_the_naive_formula(candidates, references, _):
    assert captions.cider(candidates, references) == pytest.approx(
        naive(candidates, references), abs=1e-12
    )


def test_document_frequencies_come_from_the_references_given():
    """The same first two items score otherwise when only they are there: 2.9327 and 4.0210 by the library."""
    found = captions.cider(safe_metrics.CANDIDATES[:2], safe_metrics.REFERENCES[:2])
    assert found == pytest.approx([2.932668342576807, 4.0210372011661], abs=1e-12)


def test_a_perfect_caption_scores_ten_and_a_longer_one_less():
    references = [["a b c d e"], ["f g h i j"]]
    assert captions.cider(["a b c d e", "f g h i j"], references) == pytest.approx([10, 10])
    assert captions.cider(["a b c d e a b c d e", "f g h i j"], references)[0] < 5


@pytest.mark.parametrize(
    ("candidates", "references", "said"),
    [
        (["a"], [["a"]], "2 items or more"),
        (["a", "b"], [["a"]], "one list each"),
        (["a", "b"], [["a"], []], "item 1 has no reference"),
    ],
)
def test_what_has_no_cider_is_refused(candidates, references, said):
    with pytest.raises(ValueError, match=said):
        captions.cider(candidates, references)


@pytest.mark.parametrize(
    "row",
    [
        published,
        {"cider": 80.3, "spice": 18.8, "spider": 49.5},
        {"cider": 84.1, "spice": 19.4, "spider": 51.8},
        {"cider": 84.1},
        {
            "cider": 80.1,
            "spice": 18.0,
            "spider": 49.1,
            "split": "test",
            "titled": "test",
            "bleu_4": 28.0,
        },
    ],
)
def test_published_rows_that_fit_are_passed(row):
    assert captions.contradictions([row]) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spider": 52.7}, "SPIDEr 52.7 is not the mean of CIDEr 88.5 and SPICE 16.5, 52.50"),
        ({"spider": math.nan}, "not the mean"),
        ({"split": "validation", "titled": "test"}, "shown as test, measured on validation"),
        ({"bleu_4": -4.0}, "outside 0 to 100"),
    ],
)
def test_published_rows_that_contradict_themselves_are_told(change, said):
    found = captions.contradictions([{"cider": 1.0}, published | change])
    assert len(found) == 1
    assert found[0].startswith("SAFE table: ")
    assert said in found[0]


@pytest.fixture
def no_library(monkeypatch):
    monkeypatch.setattr(captions.importlib.util, "find_spec", lambda name: None)


def test_spice_says_what_is_missing(no_library):
    with pytest.raises(NotObservable, match="pip install pycocoevalcap"):
        captions.spice(["a", "b"], [["a"], ["b"]])


@pytest.fixture
def library_folder(monkeypatch, tmp_path):
    """pycocoevalcap as far as SPICE looks at it, installed in a folder without the CoreNLP jars."""
    home = tmp_path / "pycocoevalcap"
    (home / "spice" / "lib").mkdir(parents=True)
    monkeypatch.setattr(
        captions.importlib.util,
        "find_spec",
        lambda name: types.SimpleNamespace(submodule_search_locations=[str(home)]),
    )
    monkeypatch.setattr(captions.shutil, "which", lambda name: "/usr/bin/java")
    return home


def test_spice_asks_for_java_and_for_the_jars_and_fetches_nothing(library_folder, monkeypatch):
    with pytest.raises(NotObservable, match=r"stanford-corenlp-3.6.0.jar"):
        captions.spice(["a", "b"], [["a"], ["b"]])
    monkeypatch.setattr(captions.shutil, "which", lambda name: None)
    with pytest.raises(NotObservable, match="no `java`"):
        captions.spice(["a", "b"], [["a"], ["b"]])


@pytest.mark.parametrize("dies", [False, True])
def test_spice_reads_the_library_s_answer_or_tells_of_its_failure(
    library_folder, monkeypatch, dies
):
    class Spice:
        def compute_score(self, truths, said):
            assert (truths, said) == ({0: ["a x"], 1: ["b"]}, {0: ["a"], 1: ["b"]})
            if dies:
                raise OSError("exit status 1")
            return 0.5, [{"All": {"f": 0.25}}, {"All": {"f": 0.75}}]

    for name in ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"):
        (library_folder / "spice" / "lib" / name).touch()
    module = types.ModuleType("pycocoevalcap.spice.spice")
    module.Spice = Spice
    for name in ("pycocoevalcap", "pycocoevalcap.spice"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    if dies:
        with pytest.raises(NotObservable, match="exit status 1"):
            captions.spice(["a", "b"], [["a x"], ["b"]])
    else:
        assert captions.spice(["a", "b"], [["a x"], ["b"]]) == [0.25, 0.75]


def test_every_check_of_the_measure_holds(no_library):
    report = safe_metrics.captioning()
    assert report["findings"] == []
    assert set(report["values"]["failed_checks"]) == {0.0}
    assert report["counts"] == {"checks": 33, "failed": 0, "library_checks": 0}
    assert len(report["not_scored"]) == 2


def of_sum(teacher, student, mask, temperature=1.0):
    return distillation.kl(teacher, student, mask, temperature) * mask.sum()


def without_square(teacher, student, mask, temperature=1.0):
    return distillation.kl(teacher, student, mask, temperature) / temperature**2


BROKEN = {
    "the plain rule": (
        vqa,
        "accuracy",
        lambda truths, answer: min(sum(t == answer for t in truths) / 3, 1),
    ),
    "no normalisation": (vqa, "normalise", str.lower),
    "all punctuation dropped": (
        vqa,
        "normalise",
        lambda text: "".join(c for c in text.lower() if c.isalnum() or c == " "),
    ),
    "CIDEr without its factor": (captions, "SCALE", 1.0),
    "another width": (captions, "SIGMA", 3.0),
    "trigrams": (captions, "N", 3),
    "no clipping": (
        captions,
        "_clipped_cosine",
        lambda a, b: (
            sum(x * b.get(g, 0) for g, x in a.items())
            / (math.hypot(*a.values()) * math.hypot(*b.values()) or 1)
        ),
    ),
    "SPIDEr a sum": (captions, "spider", lambda a, b: a + b),
    "KL over the batch": (safe_metrics, "kl", of_sum),
    "KL turned round": (safe_metrics, "kl", lambda t, s, m, T=1.0: distillation.kl(s, t, m, T)),
    "KL without τ²": (safe_metrics, "kl", without_square),
}


@pytest.mark.parametrize("defect", BROKEN)
def test_a_broken_metric_fails_a_check(monkeypatch, no_library, defect):
    monkeypatch.setattr(*BROKEN[defect])
    report = safe_metrics.captioning()
    assert report["counts"]["failed"] >= 1
    assert (
        sum(report["values"]["failed_checks"])
        == report["counts"]["failed"]
        == len(report["findings"])
    )
